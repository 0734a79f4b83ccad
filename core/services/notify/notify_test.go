package notify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	lease time.Duration // of the last delivery handed out
}

func newQueue(due ...Delivery) *queue {
	return &queue{due: due, state: map[string]string{}, next: map[string]time.Time{}, cause: map[string]string{}}
}

func (q *queue) Due(context.Context, time.Time) ([]string, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []string
	for _, d := range q.due {
		if !slices.Contains(out, d.Notifier) {
			out = append(out, d.Notifier)
		}
	}
	return out, nil
}

func (q *queue) Lease(_ context.Context, _ time.Time, lease time.Duration, notifier string, limit int) ([]Delivery, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out, left []Delivery
	for _, d := range q.due {
		if d.Notifier == notifier && len(out) < limit {
			out = append(out, d)
		} else {
			left = append(left, d)
		}
	}
	q.due, q.lease = left, lease
	return out, nil
}

func (q *queue) put(d Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.due = append(q.due, d)
}

func (q *queue) stateOf(id string) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state[id]
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

// once delivers what is due.
func (s *Service) once(ctx context.Context) {
	var loops sync.WaitGroup
	s.begin(ctx, &loops)
	loops.Wait()
}

// stuck is a notifier that answers only when it is told to stop.
type stuck struct {
	name  string
	began chan time.Duration // until the deadline of the call
	calls atomic.Int32
}

func (n *stuck) Instance() string { return n.name }
func (n *stuck) Notify(ctx context.Context, _ sdk.Notice) (sdk.Receipt, error) {
	n.calls.Add(1)
	deadline, _ := ctx.Deadline()
	n.began <- time.Until(deadline)
	<-ctx.Done()
	return sdk.Receipt{}, ctx.Err()
}

func TestASlowNotifierDelaysNobodyElse(t *testing.T) {
	slow, hook := &stuck{name: "slow", began: make(chan time.Duration, 1)}, &notifier{name: "hook"}
	q := newQueue(delivery("s1", "slow", 0), delivery("s2", "slow", 0))
	s := service(q, hook)
	find := s.cfg.Notifier
	s.cfg.Notifier = func(instance string) (Notifier, bool) {
		if instance == "slow" {
			return slow, true
		}
		return find(instance)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { s.Run(ctx); close(done) }()
	left := <-slow.began
	q.mu.Lock()
	if left <= 0 || q.lease <= left {
		t.Errorf("the lease of %s is not longer than the call, which may take %s", q.lease, left)
	}
	q.mu.Unlock()
	for _, id := range []string{"1", "2"} { // also a second time, while the slow one still hangs
		q.put(delivery(id, "hook", 0))
		s.Wake()
		for deadline := time.Now().Add(20 * time.Second); q.stateOf(id) == ""; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("notice %s waits for the slow notifier", id)
			}
		}
	}
	cancel()
	<-done
	if n := slow.calls.Load(); n != 1 {
		t.Errorf("the slow notifier was called %d times at once", n)
	}
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
	service(q, hook, mail).once(t.Context())
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
			service(q, &notifier{name: "hook", err: tc.err}).once(t.Context())
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
	service(q).once(t.Context())
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
