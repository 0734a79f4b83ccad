package agent

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/registry/policy"
)

// ledger is a server that takes answers and output.
type ledger struct {
	mu      sync.Mutex
	answers map[string][]result
	printed map[string]*bytes.Buffer
	cap     int           // of an output; 0: none
	lose    bool          // answers of the next chunk get lost
	down    bool          // takes no answers
	came    chan struct{} // an answer came
}

func newLedger() *ledger {
	return &ledger{answers: map[string][]result{}, printed: map[string]*bytes.Buffer{}, came: make(chan struct{}, 100)}
}

func (l *ledger) answer(_ context.Context, id string, r result) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return errors.New("no route to host")
	}
	l.answers[id] = append(l.answers[id], r)
	l.came <- struct{}{}
	return nil
}

func (l *ledger) output(_ context.Context, id string, offset int64, data []byte) (int64, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.printed[id]
	if b == nil {
		b = &bytes.Buffer{}
		l.printed[id] = b
	}
	if int64(b.Len()) == offset {
		b.Write(data)
	}
	if l.lose {
		l.lose = false
		return 0, false, errors.New("the connection broke")
	}
	return int64(b.Len()), l.cap == 0 || b.Len() < l.cap, nil
}

func (l *ledger) wait(t *testing.T) {
	t.Helper()
	select {
	case <-l.came:
	case <-time.After(testPatience):
		t.Fatal("no answer came")
	}
}

var orderKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// testOrders is an agent's orders on a folder, as a new process finds it.
func testOrders(t *testing.T, dir string, l *ledger, do map[string]job) *orders {
	t.Helper()
	o := &orders{path: filepath.Join(dir, "orders.json"), key: orderKey.Public().(ed25519.PublicKey), agent: "agent-1", now: time.Now,
		log: slog.New(slog.DiscardHandler), allows: func(kind string) bool { return kind != "refused-here" }, do: do, server: l}
	if err := o.load(""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.work.Wait) // what is under way still writes into dir
	return o
}

func signedOrder(t *testing.T, kind, args string) (string, json.RawMessage) {
	t.Helper()
	c, err := signing.SignCommand(signing.Command{ID: uuid.NewString(), Agent: "agent-1", Type: kind, Args: json.RawMessage(args),
		Issued: time.Now(), Expires: time.Now().Add(time.Minute)}, orderKey)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return c.ID, raw
}

func TestOutputStreamsInOrder(t *testing.T) {
	l := newLedger()
	l.lose = true // the answer of the first chunk
	text := strings.Repeat("0123456789abcdef", 5000)
	o := testOrders(t, t.TempDir(), l, map[string]job{"print": {run: func(_ context.Context, _ string, _ json.RawMessage, out io.Writer) error {
		_, err := io.WriteString(out, text)
		return err
	}}})
	id, raw := signedOrder(t, "print", `{}`)
	o.take(t.Context(), raw)
	l.wait(t)
	if got := l.printed[id].String(); got != text || l.answers[id][0].State != "done" {
		t.Errorf("%d bytes of %d, %+v", len(got), len(text), l.answers[id])
	}
	// What the server does not want any more is thrown away, and the order ends all the same.
	l.cap = 20_000
	id, raw = signedOrder(t, "print", `{}`)
	o.take(t.Context(), raw)
	l.wait(t)
	if got := l.printed[id].Len(); got > l.cap+outputChunk || l.answers[id][0].State != "done" {
		t.Errorf("%d bytes, %+v", got, l.answers[id])
	}
}

func TestAnOrderIsCancelled(t *testing.T) {
	l := newLedger()
	began := make(chan struct{})
	o := testOrders(t, t.TempDir(), l, map[string]job{"hang": {run: func(ctx context.Context, _ string, _ json.RawMessage, _ io.Writer) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	}}})
	id, raw := signedOrder(t, "hang", `{}`)
	o.take(t.Context(), raw)
	<-began
	forged, err := json.Marshal(signing.Command{ID: uuid.NewString(), Agent: "agent-1", Type: cancelOrder, Args: json.RawMessage(`{"command":"` + id + `"}`), Expires: time.Now().Add(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	o.take(t.Context(), forged)
	l.wait(t) // the refusal of the forged one
	o.mu.Lock()
	running := len(o.running)
	o.mu.Unlock()
	if running != 1 {
		t.Fatal("a forged cancellation stopped it")
	}
	_, stop := signedOrder(t, cancelOrder, `{"command":"`+id+`"}`)
	o.take(t.Context(), stop)
	l.wait(t)
	if r := l.answers[id]; len(r) != 1 || r[0].State != "cancelled" {
		t.Errorf("%+v", r)
	}
}

// TestStoppedWhileCarryingOut takes the process away at each step: before, in the middle, after the work but before the
// answer. The order runs at most once, and has exactly one answer.
func TestStoppedWhileCarryingOut(t *testing.T) {
	runs := 0
	count := map[string]job{"count": {run: func(context.Context, string, json.RawMessage, io.Writer) error { runs++; return nil }}}
	t.Run("in the middle", func(t *testing.T) {
		runs = 0
		dir, l := t.TempDir(), newLedger()
		o := testOrders(t, dir, l, count)
		id, raw := signedOrder(t, "count", `{}`)
		var c signing.Command
		if err := json.Unmarshal(raw, &c); err != nil {
			t.Fatal(err)
		}
		if fresh, err := o.remember(c, func() {}); !fresh || err != nil { // and the process is killed
			t.Fatal(fresh, err)
		}
		o = testOrders(t, dir, l, count)
		o.take(t.Context(), raw)
		o.deliver(t.Context())
		l.wait(t)
		o.work.Wait()
		if r := l.answers[id]; runs != 0 || len(r) != 1 || r[0] != interrupted {
			t.Errorf("%d runs, answers %+v", runs, r)
		}
	})
	t.Run("before the answer", func(t *testing.T) {
		runs = 0
		dir, l := t.TempDir(), newLedger()
		l.down = true
		o := testOrders(t, dir, l, count)
		id, raw := signedOrder(t, "count", `{}`)
		o.take(t.Context(), raw)
		o.work.Wait()
		l.down = false
		o = testOrders(t, dir, l, count)
		o.take(t.Context(), raw)
		o.deliver(t.Context())
		l.wait(t)
		o.work.Wait()
		if r := l.answers[id]; runs != 1 || len(r) != 1 || r[0].State != "done" {
			t.Errorf("%d runs, answers %+v", runs, r)
		}
		again := testOrders(t, dir, l, count)
		again.deliver(t.Context())
		again.work.Wait()
		if len(l.answers[id]) != 1 {
			t.Errorf("answered again: %+v", l.answers[id])
		}
	})
	t.Run("a disk that takes nothing", func(t *testing.T) {
		runs = 0
		l := newLedger()
		o := testOrders(t, filepath.Join(t.TempDir(), "gone"), l, count)
		id, raw := signedOrder(t, "count", `{}`)
		o.take(t.Context(), raw)
		l.wait(t)
		if r := l.answers[id]; runs != 0 || r[0].State != "refused" || !strings.Contains(r[0].Output, "cannot note") {
			t.Errorf("%d runs, %+v", runs, r)
		}
	})
}

func TestTheOwnerRefusesATypeOfOrder(t *testing.T) {
	l := newLedger()
	o := testOrders(t, t.TempDir(), l, map[string]job{"refused-here": {run: func(context.Context, string, json.RawMessage, io.Writer) error { t.Error("it ran"); return nil }}})
	id, raw := signedOrder(t, "refused-here", `{}`)
	o.take(t.Context(), raw)
	l.wait(t)
	if r := l.answers[id][0]; r.State != "refused" || !strings.Contains(r.Output, "policy.yaml") {
		t.Errorf("%+v", r)
	}
}

// program writes a script that this machine's owner allows, and returns its path and an agent with that ceiling.
func program(t *testing.T, text string, args ...string) (string, *Agent) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tool")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("#!/bin/sh\n" + text))
	list, err := json.Marshal(append([]string{}, args...))
	if err != nil {
		t.Fatal(err)
	}
	c, err := policy.Parse(fmt.Appendf(nil, "apiVersion: picket/v1\ncommands: {exec: [{path: %s, sha256: %s, args: %s}]}\n", path, hex.EncodeToString(sum[:]), list))
	if err != nil {
		t.Fatal(err)
	}
	return path, &Agent{cfg: Config{Dir: t.TempDir()}, ceiling: c}
}

func execArgs(t *testing.T, path string, timeout int, args ...string) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"path": path, "args": args, "timeout": timeout})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestExecRunsWhatTheOwnerNamedAndNothingElse(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("no /bin/sh here")
	}
	evil := "$(touch /tmp/x); rm -rf / # `id` 'a b'"
	path, a := program(t, `printf '%s|%s|%s' "$#" "$1" "$HOME"; pwd`, evil)
	var out bytes.Buffer
	if err := a.exec(t.Context(), "", execArgs(t, path, 0, evil), &out); err != nil || out.String() != "1|"+evil+"|//\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	var no *refusedOrder
	for name, raw := range map[string]json.RawMessage{
		"without its argument": execArgs(t, path, 0), "with another": execArgs(t, path, 0, evil, "x"), "a shell": execArgs(t, "/bin/sh", 0, "-c", "id"),
		"a way around": execArgs(t, filepath.Dir(path)+"/./tool", 0, evil), "nonsense": json.RawMessage(`{"path":5}`),
	} {
		if err := a.exec(t.Context(), "", raw, io.Discard); !errors.As(err, &no) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho evil"), 0o700); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := a.exec(t.Context(), "", execArgs(t, path, 0, evil), &out); !errors.As(err, &no) || !strings.Contains(err.Error(), "SHA-256") || out.Len() > 0 {
		t.Errorf("a program that was changed: %v, %q", err, out.String())
	}
	run := filepath.Join(a.cfg.Dir, "run")
	if left, _ := filepath.Glob(filepath.Join(run, "*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	for _, name := range []string{"exec-1", "plugin.sock"} { // of an agent that was killed
		if err := os.WriteFile(filepath.Join(run, name), nil, 0o500); err != nil {
			t.Fatal(err)
		}
	}
	err := sweepCopies(a.cfg.Dir)
	if left, _ := filepath.Glob(filepath.Join(run, "*")); err != nil || len(left) != 1 || filepath.Base(left[0]) != "plugin.sock" {
		t.Errorf("after sweeping: %v, %v", left, err)
	}
}

func TestExecIsStoppedWithAllItStarted(t *testing.T) {
	if _, err := os.Stat("/bin/sh"); err != nil {
		t.Skip("no /bin/sh here")
	}
	path, a := program(t, "sleep 600 & echo $!; wait\n")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- a.exec(ctx, "", execArgs(t, path, 0), w); w.Close() }()
	var pid int
	if _, err := fmt.Fscan(r, &pid); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	for deadline := time.Now().Add(testPatience); ; time.Sleep(5 * time.Millisecond) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(raw), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("its child runs on")
		}
	}
}

// TestAHundredMegabytes prints far more than a server takes; memory stays at a chunk and the program is not stuck.
func TestAHundredMegabytes(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("no /dev/zero here")
	}
	path, a := program(t, "head -c 100000000 /dev/zero\n")
	l := newLedger()
	l.cap = 100_000
	o := testOrders(t, t.TempDir(), l, map[string]job{execOrder: {time: time.Minute, run: a.exec}})
	id, raw := signedOrder(t, execOrder, string(execArgs(t, path, 0)))
	o.take(t.Context(), raw)
	l.wait(t)
	if r := l.answers[id][0]; r.State != "done" || l.printed[id].Len() > l.cap+outputChunk {
		t.Errorf("%+v, %d bytes", r, l.printed[id].Len())
	}
}
