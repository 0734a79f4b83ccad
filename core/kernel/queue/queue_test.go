package queue

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

var start = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, agents ...string) (*Queue, *clock) {
	t.Helper()
	now := &clock{t: start}
	dir := t.TempDir()
	c, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"),
		KeyFile: filepath.Join(dir, "key"), Now: now.Now})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	for _, id := range agents {
		must(t, c.CreateEnrolmentToken(t.Context(), store.EnrolmentToken{ID: id, Tenant: "default", Hash: []byte(id), Expires: start.Add(time.Hour)}))
		_, err := c.EnrolAgent(t.Context(), []byte(id), store.Agent{ID: id, PublicKey: []byte{1}, BearerHash: []byte{2}})
		must(t, err)
	}
	q, err := New(Config{Store: c, Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32)), Now: now.Now})
	must(t, err)
	return q, now
}

func restart(agent string) Order {
	return Order{Tenant: "default", AgentID: agent, Type: RestartPlugin, Args: json.RawMessage(`{"instance":"host"}`), By: "user:ada"}
}

func TestACommandTravelsOnceAndVerifies(t *testing.T) {
	q, now := open(t, "a1", "a2")
	ctx := t.Context()
	cmd, err := q.Enqueue(ctx, restart("a1"))
	must(t, err)
	if cmd.State != store.CommandQueued {
		t.Errorf("state %s", cmd.State)
	}
	if list, err := q.Take(ctx, "a2", 0); err != nil || len(list) != 0 {
		t.Fatalf("a2 got a1's command: %v, %v", list, err)
	}
	list, err := q.Take(ctx, "a1", 0)
	must(t, err)
	if len(list) != 1 {
		t.Fatalf("%d commands", len(list))
	}
	// As it arrives: through JSON.
	raw, err := json.Marshal(list[0])
	must(t, err)
	var arrived signing.Command
	must(t, json.Unmarshal(raw, &arrived))
	if _, err := signing.VerifyCommand(arrived, q.PublicKey(), "a1", now.Now()); err != nil {
		t.Errorf("the agent refuses it: %v", err)
	}
	if list, _ := q.Take(ctx, "a1", 0); len(list) != 0 {
		t.Error("handed out twice")
	}
	long := strings.Repeat("é", maxOutput)
	must(t, q.Finish(ctx, "a1", cmd.ID, store.CommandDone, long))
	got, err := q.Get(ctx, "default", cmd.ID)
	must(t, err)
	if got.State != store.CommandDone || !got.OutputTruncated || len(got.Output) > maxOutput || !strings.HasPrefix(long, got.Output) {
		t.Errorf("finished: state %s, %d bytes, truncated %t", got.State, len(got.Output), got.OutputTruncated)
	}
	if err := q.Finish(ctx, "a1", cmd.ID, store.CommandFailed, ""); !errors.Is(err, store.ErrState) {
		t.Errorf("finished again: %v", err)
	}
	if err := q.Finish(ctx, "a2", cmd.ID, store.CommandDone, ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("finished by another agent: %v", err)
	}
	var input *InputError
	if err := q.Finish(ctx, "a1", cmd.ID, store.CommandQueued, ""); !errors.As(err, &input) {
		t.Errorf("finished as queued: %v", err)
	}
}

func TestAPollIsWoken(t *testing.T) {
	q, _ := open(t, "a1")
	got := make(chan []signing.Command)
	go func() {
		list, err := q.Take(context.WithoutCancel(t.Context()), "a1", time.Minute)
		if err != nil {
			t.Error(err)
		}
		got <- list
	}()
	_, err := q.Enqueue(t.Context(), restart("a1"))
	must(t, err)
	select {
	case list := <-got:
		if len(list) != 1 {
			t.Errorf("%d commands", len(list))
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the poll slept on")
	}
	if len(q.waiters) != 0 {
		t.Error("a poll that ended is still waited for")
	}
	if list, err := q.Take(t.Context(), "a1", time.Millisecond); err != nil || list != nil {
		t.Errorf("a poll without commands: %v, %v", list, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Take(ctx, "a1", time.Minute); !errors.Is(err, context.Canceled) {
		t.Errorf("a poll whose client went away: %v", err)
	}
}

func TestOrdersAreChecked(t *testing.T) {
	q, _ := open(t, "a1")
	for name, change := range map[string]func(*Order){
		"unknown type":     func(o *Order) { o.Type = "format" },
		"no instance":      func(o *Order) { o.Args = nil },
		"unknown argument": func(o *Order) { o.Args = json.RawMessage(`{"instance":"host","command":"rm"}`) },
		"not json":         func(o *Order) { o.Args = json.RawMessage(`{`) },
		"two values":       func(o *Order) { o.Args = json.RawMessage(`{"instance":"x"}{}`) },
		"lives too long":   func(o *Order) { o.TTL = 48 * time.Hour },
	} {
		t.Run(name, func(t *testing.T) {
			o := restart("a1")
			change(&o)
			var input *InputError
			if _, err := q.Enqueue(t.Context(), o); !errors.As(err, &input) {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := q.Enqueue(t.Context(), restart("a9")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown agent: %v", err)
	}
	for range maxPerAgent {
		_, err := q.Enqueue(t.Context(), Order{Tenant: "default", AgentID: "a1", Type: CollectNow})
		must(t, err)
	}
	if _, err := q.Enqueue(t.Context(), restart("a1")); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
}

func TestCommandsExpire(t *testing.T) {
	q, now := open(t, "a1")
	cmd, err := q.Enqueue(t.Context(), restart("a1"))
	must(t, err)
	now.Add(defaultTTL)
	if list, _ := q.Take(t.Context(), "a1", 0); len(list) != 0 {
		t.Error("handed out after its expiry")
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	deadline := time.Now().Add(30 * time.Second)
	for {
		got, err := q.Get(t.Context(), "default", cmd.ID)
		must(t, err)
		if got.State == store.CommandExpired {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("state %s", got.State)
		}
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
}

func TestLoadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys", "command.key")
	key, err := LoadKey(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %04o", info.Mode().Perm())
	}
	again, err := LoadKey(path)
	must(t, err)
	if !key.Equal(again) {
		t.Error("another key the second time")
	}
	must(t, os.Chmod(path, 0o640))
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("readable by others: %v", err)
	}
	must(t, os.WriteFile(path, []byte("x"), 0o600))
	must(t, os.Chmod(path, 0o600))
	if _, err := LoadKey(path); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged: %v", err)
	}
}
