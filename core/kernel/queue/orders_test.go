package queue

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/signing"
	"github.com/picketwatch/picket/core/kernel/store"
)

func run(agents ...string) Request {
	return Request{Tenant: "default", Type: Exec, Args: json.RawMessage(`{"path":"/bin/true"}`), Agents: agents, Target: "some", By: "user:ada", Person: "ada"}
}

func states(t *testing.T, q *Queue, order string) string {
	t.Helper()
	list, _, err := q.cfg.Store.OrderCommands(t.Context(), "default", order, store.Page{})
	must(t, err)
	var out []string
	for _, c := range list {
		out = append(out, c.AgentID+" "+c.State)
	}
	return strings.Join(out, ", ")
}

func TestADangerousOrderWaitsForASecondPerson(t *testing.T) {
	q, now := open(t, "a1", "a2")
	ctx := t.Context()
	o, list, err := q.Order(ctx, run("a1", "a2"))
	must(t, err)
	if o.State != store.OrderWaiting || len(list) != 2 || list[0].State != store.CommandWaiting || len(list[0].Signature) != 0 {
		t.Fatalf("%+v %+v", o, list)
	}
	if got, _ := q.Take(ctx, "a1", 0); len(got) != 0 {
		t.Fatal("it went before anybody approved it")
	}
	for _, person := range []string{"ada", ""} {
		if _, err := q.Approve(ctx, "default", o.ID, "user:"+person, person); !errors.Is(err, ErrOwn) {
			t.Errorf("approved by %q: %v", person, err)
		}
	}
	if _, err := q.Approve(ctx, "other", o.ID, "user:eve", "eve"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("approved by another tenant: %v", err)
	}
	now.Add(time.Hour)
	o, err = q.Approve(ctx, "default", o.ID, "user:bob", "bob")
	must(t, err)
	if o.State != store.OrderGiven || o.DecidedBy != "user:bob" {
		t.Errorf("%+v", o)
	}
	got, err := q.Take(ctx, "a1", 0)
	must(t, err)
	if len(got) != 1 {
		t.Fatalf("%d commands", len(got))
	}
	if _, err := signing.VerifyCommand(got[0], q.PublicKey(), "a1", now.Now()); err != nil {
		t.Errorf("the agent refuses it: %v", err)
	}
	if _, err := q.Approve(ctx, "default", o.ID, "user:bob", "bob"); !errors.Is(err, store.ErrState) {
		t.Errorf("approved twice: %v", err)
	}
	if s := states(t, q, o.ID); s != "a1 sent, a2 queued" {
		t.Error(s)
	}
}

func TestWhatNeedsApproval(t *testing.T) {
	many := make([]string, ApproveAbove+1)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	q, _ := open(t, many...)
	for name, c := range map[string]struct {
		kind   string
		agents []string
		want   string
	}{
		"harmless to many":   {Ping, many, store.OrderGiven},
		"disruptive to one":  {RestartAgent, many[:1], store.OrderGiven},
		"disruptive to ten":  {UpdateAgent, many[:ApproveAbove], store.OrderGiven},
		"disruptive to many": {UpdateAgent, many, store.OrderWaiting},
	} {
		o, _, err := q.Order(t.Context(), Request{Tenant: "default", Type: c.kind, Agents: c.agents, By: "user:ada", Person: "ada"})
		if err != nil || o.State != c.want {
			t.Errorf("%s: %s, %v", name, o.State, err)
		}
	}
	nobody := run(many[0])
	nobody.Person = ""
	if _, _, err := q.Order(t.Context(), nobody); !errors.Is(err, ErrNoPerson) {
		t.Errorf("asked for by a token of nobody: %v", err)
	}
	if _, _, err := q.Order(t.Context(), run(many[0], "stranger")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("to a machine that is not there: %v", err)
	}
	if list, _, _ := q.cfg.Store.ListCommands(t.Context(), "default", many[0], store.Page{Limit: 500}); len(list) != 4 {
		t.Errorf("a refused order left commands: %d", len(list))
	}
}

// Who may disrupt ten machines alone must not disrupt a hundred, one after the other.
func TestDisruptionsAddUp(t *testing.T) {
	q, now := open(t, "a1")
	one := Request{Tenant: "default", Type: RestartAgent, Agents: []string{"a1"}, By: "user:ada", Person: "ada"}
	for i := range ApproveAbove + 1 {
		o, _, err := q.Order(t.Context(), one)
		must(t, err)
		if want := i == ApproveAbove; (o.State == store.OrderWaiting) != want {
			t.Errorf("order %d is %s", i, o.State)
		}
	}
	now.Add(disruptionTime)
	if o, _, err := q.Order(t.Context(), one); err != nil || o.State != store.OrderGiven {
		t.Errorf("later: %s, %v", o.State, err)
	}
}

func TestOrdersAreDeniedCancelledAndExpire(t *testing.T) {
	q, now := open(t, "a1", "a2", "a3")
	ctx := t.Context()
	denied, _, err := q.Order(ctx, run("a1"))
	must(t, err)
	denied, err = q.Deny(ctx, "default", denied.ID, "user:bob", "not today")
	must(t, err)
	if s := states(t, q, denied.ID); denied.State != store.OrderDenied || denied.Reason != "not today" || s != "a1 denied" {
		t.Errorf("%+v %s", denied, s)
	}
	cancelled, _, err := q.Order(ctx, run("a1"))
	must(t, err)
	_, err = q.CancelOrder(ctx, "default", cancelled.ID, "user:ada")
	must(t, err)
	if s := states(t, q, cancelled.ID); s != "a1 cancelled" {
		t.Error(s)
	}
	late, _, err := q.Order(ctx, run("a1"))
	must(t, err)
	now.Add(approvalTime)
	if _, err := q.Approve(ctx, "default", late.ID, "user:bob", "bob"); !errors.Is(err, store.ErrState) {
		t.Errorf("approved too late: %v", err)
	}
	must(t, q.expireOrders(ctx))
	if s := states(t, q, late.ID); s != "a1 expired" {
		t.Error(s)
	}
	// One machine has it, one has done it, one has not fetched it.
	o, list, err := q.Order(ctx, Request{Tenant: "default", Type: Ping, Agents: []string{"a1", "a2", "a3"}, By: "user:ada"})
	must(t, err)
	for _, a := range []string{"a1", "a2"} {
		_, err := q.Take(ctx, a, 0)
		must(t, err)
	}
	must(t, q.Finish(ctx, "a2", list[1].ID, store.CommandDone, ""))
	_, err = q.CancelOrder(ctx, "default", o.ID, "user:ada")
	must(t, err)
	if s := states(t, q, o.ID); s != "a1 sent, a2 done, a3 cancelled" {
		t.Error(s)
	}
	stops, err := q.Take(ctx, "a1", 0)
	must(t, err)
	if len(stops) != 1 || stops[0].Type != cancel || !strings.Contains(string(stops[0].Args), list[0].ID) {
		t.Fatalf("%+v", stops)
	}
	if _, err := signing.VerifyCommand(stops[0], q.PublicKey(), "a1", now.Now()); err != nil {
		t.Errorf("the agent refuses it: %v", err)
	}
	if again, _ := q.Take(ctx, "a1", 0); len(again) != 0 {
		t.Error("told twice")
	}
	_, err = q.CancelOrder(ctx, "default", o.ID, "user:ada") // that answer may have been lost
	must(t, err)
	if again, _ := q.Take(ctx, "a1", 0); len(again) != 1 {
		t.Errorf("cancelled once more, and the agent is told %d times", len(again))
	}
	must(t, q.Finish(ctx, "a1", list[0].ID, store.CommandCancelled, "stopped"))
	if s := states(t, q, o.ID); s != "a1 cancelled, a2 done, a3 cancelled" {
		t.Error(s)
	}
}

func TestOutputIsKeptInOrderAndBounded(t *testing.T) {
	q, _ := open(t, "a1", "a2")
	ctx := t.Context()
	_, list, err := q.Order(ctx, Request{Tenant: "default", Type: Ping, Agents: []string{"a1"}, By: "user:ada"})
	must(t, err)
	c := list[0]
	if _, _, err := q.Printed(ctx, "a1", c, 0, []byte("x")); !errors.Is(err, store.ErrState) {
		t.Errorf("output of what nobody has: %v", err)
	}
	_, err = q.Take(ctx, "a1", 0)
	must(t, err)
	if _, _, err := q.Printed(ctx, "a2", c, 0, []byte("x")); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("output by another agent: %v", err)
	}
	for _, step := range []struct {
		offset int64
		data   string
		have   int64
	}{{0, "one ", 4}, {0, "one ", 4}, {9, "gap", 4}, {2, "e two ", 8}, {8, "", 8}} {
		have, more, err := q.Printed(ctx, "a1", c, step.offset, []byte(step.data))
		if err != nil || have != step.have || !more {
			t.Errorf("%+v: have %d, more %t, %v", step, have, more, err)
		}
	}
	have, more, err := q.Printed(ctx, "a1", c, 8, make([]byte, usualOutput))
	if err != nil || have != usualOutput || more {
		t.Errorf("too much: have %d, more %t, %v", have, more, err)
	}
	must(t, q.Finish(ctx, "a1", c.ID, store.CommandDone, "end"))
	got, err := q.Get(ctx, "default", c.ID)
	must(t, err)
	if !strings.HasPrefix(got.Output, "one two ") || !strings.HasSuffix(got.Output, "end") || !got.OutputTruncated {
		t.Errorf("%d bytes, truncated %t", len(got.Output), got.OutputTruncated)
	}
	if _, _, err := q.Printed(ctx, "a1", c, have, []byte("late")); !errors.Is(err, store.ErrState) {
		t.Errorf("late output: %v", err)
	}
}

func TestWhoWatchesIsWoken(t *testing.T) {
	q, _ := open(t, "a1")
	ctx := t.Context()
	_, list, err := q.Order(ctx, Request{Tenant: "default", Type: Ping, Agents: []string{"a1"}, By: "user:ada"})
	must(t, err)
	_, err = q.Take(ctx, "a1", 0)
	must(t, err)
	watch := func(from int) chan store.Command {
		out := make(chan store.Command, 1)
		go func() {
			c, err := q.WaitForOutput(t.Context(), "default", list[0].ID, from, time.Minute)
			if err != nil {
				t.Error(err)
			}
			out <- c
		}()
		return out
	}
	first := watch(0)
	_, _, err = q.Printed(ctx, "a1", list[0], 0, []byte("hello"))
	must(t, err)
	if c := <-first; c.Output != "hello" {
		t.Errorf("%q", c.Output)
	}
	second := watch(5)
	must(t, q.Finish(ctx, "a1", list[0].ID, store.CommandDone, ""))
	if c := <-second; c.State != store.CommandDone {
		t.Errorf("%s", c.State)
	}
}

func TestArgumentsAreChecked(t *testing.T) {
	for kind, bad := range map[string][]string{
		Ping: {`{"text":5}`, `{"x":1}`, `{"text":"` + strings.Repeat("x", 201) + `"}`}, UpdateAgent: {`{"version":"newest"}`, `{"version":"../1.0.0"}`},
		RestartAgent: {`{"force":true}`}, Diagnose: {`[]`}, RestartPlugin: {`{}`},
		Exec: {`{}`, `{"path":"sh"}`, `{"path":"/bin/sh","args":"-c id"}`, `{"path":"/bin/sh","timeout":601}`, `{"path":"/bin/sh","shell":true}`, `{"path":"/bin/s\u0000h"}`, `{"path":"/x","args":["a\u0000b"]}`},
	} {
		for _, args := range bad {
			var input *InputError
			if err := checkOrder(&Order{Type: kind, Args: json.RawMessage(args)}); !errors.As(err, &input) {
				t.Errorf("%s %s: %v", kind, args, err)
			}
		}
	}
	for _, kind := range Types {
		if !json.Valid(kind.Schema) || kind.TTL <= 0 || kind.Output <= 0 || kind.check == nil {
			t.Errorf("%+v", kind)
		}
	}
}
