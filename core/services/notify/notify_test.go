package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// queue keeps deliveries in memory and remembers what became of them.
type queue struct {
	mu    sync.Mutex
	due   []Delivery
	state map[string]string
	next  map[string]time.Time
	cause map[string]string
}

func newQueue(due ...Delivery) *queue {
	return &queue{due: due, state: map[string]string{}, next: map[string]time.Time{}, cause: map[string]string{}}
}

func (q *queue) Lease(_ context.Context, _ time.Time, _ time.Duration, limit int) ([]Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(limit, len(q.due))
	out := q.due[:n]
	q.due = q.due[n:]
	return out, nil
}

func (q *queue) set(id, state, cause string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state[id], q.cause[id] = state, cause
}

func (q *queue) Delivered(_ context.Context, id string, r sdk.Receipt) error {
	q.set(id, "delivered "+r.ForeignID, "")
	return nil
}

func (q *queue) Retry(_ context.Context, id string, due time.Time, cause string) error {
	q.set(id, "failed", cause)
	q.next[id] = due
	return nil
}
func (q *queue) Dead(_ context.Context, id, cause string) error { q.set(id, "dead", cause); return nil }

type notifier struct {
	name string
	err  error
	got  []string
}

func (n *notifier) Instance() string { return n.name }
func (n *notifier) Notify(_ context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	n.got = append(n.got, notice.ID)
	return sdk.Receipt{ForeignID: "R-" + notice.ID}, n.err
}

var noon = time.Unix(43200, 0)

func service(q *queue, ns ...*notifier) *Service {
	return New(Config{
		Queue: q, Now: func() time.Time { return noon }, Jitter: func() float64 { return 0.5 }, Changed: func(Delivery) {},
		Notifier: func(instance string) (Notifier, bool) {
			for _, n := range ns {
				if n.name == instance {
					return n, true
				}
			}
			return nil, instance == "restarting"
		},
	})
}

func delivery(id, to string, attempts int) Delivery {
	return Delivery{ID: id, Notifier: to, Attempts: attempts, Notice: sdk.Notice{ID: id}}
}

func TestDeliveredInOrderWithAReceipt(t *testing.T) {
	hook := &notifier{name: "hook"}
	q := newQueue(delivery("1", "hook", 0), delivery("2", "hook", 0), delivery("3", "mail", 0))
	mail := &notifier{name: "mail"}
	if n := service(q, hook, mail).Once(t.Context()); n != 3 {
		t.Fatalf("tried %d", n)
	}
	if !slices.Equal(hook.got, []string{"1", "2"}) || q.state["1"] != "delivered R-1" || q.state["3"] != "delivered R-3" {
		t.Errorf("hook got %v; %v", hook.got, q.state)
	}
}

func TestTheClassOfTheErrorDecides(t *testing.T) {
	slow := &sdk.Error{Class: sdk.Temporary, Message: "429", RetryAfter: 10 * time.Minute}
	cases := []struct {
		name     string
		err      error
		attempts int
		state    string
		wait     time.Duration
	}{
		{"first temporary failure", sdk.Errorf(sdk.Temporary, "refused"), 0, "failed", 5 * time.Second},
		{"third", sdk.Errorf(sdk.Temporary, "refused"), 2, "failed", 20 * time.Second},
		{"the wait is bounded", sdk.Errorf(sdk.Temporary, "refused"), 10, "failed", time.Hour},
		{"the receiver says when", slow, 0, "failed", 10 * time.Minute},
		{"the receiver refuses", sdk.Errorf(sdk.Downstream, "500"), 0, "failed", 5 * time.Second},
		{"an error without a class", errors.New("boom"), 0, "failed", 5 * time.Second},
		{"too many attempts", sdk.Errorf(sdk.Temporary, "refused"), 11, "dead", 0},
		{"wrong configuration", sdk.Errorf(sdk.InvalidConfig, "no such host"), 0, "dead", 0},
		{"not granted", sdk.Errorf(sdk.PermissionDenied, "net.dial"), 0, "dead", 0},
		{"not supported", sdk.Errorf(sdk.Unsupported, "no TLS 1.3"), 0, "dead", 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			q := newQueue(delivery("1", "hook", tc.attempts))
			service(q, &notifier{name: "hook", err: tc.err}).Once(t.Context())
			if q.state["1"] != tc.state || !strings.Contains(q.cause["1"], tc.err.Error()) {
				t.Fatalf("%s: %s", q.state["1"], q.cause["1"])
			}
			if tc.state == "failed" && q.next["1"].Sub(noon) != tc.wait {
				t.Errorf("waits %s, want %s", q.next["1"].Sub(noon), tc.wait)
			}
		})
	}
}

func TestANotifierThatIsNotThere(t *testing.T) {
	q := newQueue(delivery("1", "restarting", 0), delivery("2", "removed", 0))
	service(q).Once(t.Context())
	if q.state["1"] != "failed" || q.state["2"] != "dead" {
		t.Errorf("%v", q.state)
	}
}

func TestStoppingIsNotAFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	q := newQueue()
	s := service(q, &notifier{name: "hook", err: context.Canceled})
	cancel()
	s.deliver(ctx, delivery("1", "hook", 0))
	if len(q.state) != 0 {
		t.Errorf("%v", q.state)
	}
}

func TestRunDeliversWhatComesLater(t *testing.T) {
	q := newQueue()
	hook := &notifier{name: "hook"}
	s := service(q, hook)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	q.mu.Lock()
	q.due = []Delivery{delivery("1", "hook", 0)}
	q.mu.Unlock()
	s.Wake()
	deadline := time.Now().Add(20 * time.Second)
	for {
		q.mu.Lock()
		ok := q.state["1"] != ""
		q.mu.Unlock()
		if ok || time.Now().After(deadline) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	cancel()
	<-done
	if q.state["1"] != "delivered R-1" {
		t.Errorf("%v", q.state)
	}
}

func TestTestNotice(t *testing.T) {
	hook := &notifier{name: "hook"}
	s := service(newQueue(), hook)
	if _, err := s.Test(t.Context(), "hook", sdk.Notice{ID: "t"}); err != nil || len(hook.got) != 1 {
		t.Errorf("%v, got %v", err, hook.got)
	}
	if _, err := s.Test(t.Context(), "absent", sdk.Notice{}); err == nil {
		t.Error("a test of a notifier that is not enabled passed")
	}
}
