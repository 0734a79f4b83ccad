// Package event is the bus inside one process: a publisher says that something happened, subscribers hear of it.
//
// A Bus carries one type of event. Each subscriber has its own bounded queue; when it is full the event is dropped for
// that subscriber alone and counted, so that a slow listener never holds up the publisher nor the others. What must
// not be lost does not belong on a bus but in the store or in a durable queue.
package event

import (
	"sync"
	"sync/atomic"
)

// DefaultQueue is how many events a subscriber may fall behind when it does not say.
const DefaultQueue = 256

// Bus hands each published event to every subscriber. The zero value is ready to use; a nil Bus swallows events.
type Bus[T any] struct {
	mu   sync.RWMutex // guards subs
	subs map[*Subscription[T]]struct{}
}

// New returns an empty bus.
func New[T any]() *Bus[T] { return &Bus[T]{} }

// Subscription is one listener's queue.
type Subscription[T any] struct {
	name    string
	bus     *Bus[T]
	queue   chan T
	dropped atomic.Uint64
	closed  bool // guarded by bus.mu
}

// Subscribe adds a listener with a queue of size events (DefaultQueue when size is not positive). The name appears in
// statistics.
func (b *Bus[T]) Subscribe(name string, size int) *Subscription[T] {
	if size <= 0 {
		size = DefaultQueue
	}
	s := &Subscription[T]{name: name, bus: b, queue: make(chan T, size)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = make(map[*Subscription[T]]struct{})
	}
	b.subs[s] = struct{}{}
	return s
}

// Publish hands e to every subscriber and never blocks.
func (b *Bus[T]) Publish(e T) {
	if b == nil {
		return
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	for s := range b.subs {
		select {
		case s.queue <- e:
		default:
			s.dropped.Add(1)
		}
	}
}

// Stat is what a subscriber missed and still has to read.
type Stat struct {
	Name    string `json:"name"`
	Waiting int    `json:"waiting"`
	Dropped uint64 `json:"dropped"`
}

// Stats returns the state of every subscriber, in no particular order.
func (b *Bus[T]) Stats() []Stat {
	if b == nil {
		return nil
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	out := make([]Stat, 0, len(b.subs))
	for s := range b.subs {
		out = append(out, Stat{Name: s.name, Waiting: len(s.queue), Dropped: s.dropped.Load()})
	}
	return out
}

// C is where the events arrive; it is closed by Close.
func (s *Subscription[T]) C() <-chan T { return s.queue }

// Dropped is how many events did not fit.
func (s *Subscription[T]) Dropped() uint64 { return s.dropped.Load() }

// Close ends the subscription and closes C. It is safe to call twice.
func (s *Subscription[T]) Close() {
	s.bus.mu.Lock() // no Publish is in progress, so the channel can be closed
	defer s.bus.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	delete(s.bus.subs, s)
	close(s.queue)
}
