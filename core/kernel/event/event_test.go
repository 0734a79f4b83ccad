package event

import (
	"sync"
	"testing"
)

func TestEverySubscriberGetsEveryEventInOrder(t *testing.T) {
	bus := New[int]()
	a, b := bus.Subscribe("a", 10), bus.Subscribe("b", 10)
	for i := range 5 {
		bus.Publish(i)
	}
	a.Close()
	b.Close()
	for _, s := range []*Subscription[int]{a, b} {
		want := 0
		for got := range s.C() {
			if got != want {
				t.Fatalf("%s got event %d, want %d", s.name, got, want)
			}
			want++
		}
		if want != 5 {
			t.Fatalf("%s got %d events, want 5", s.name, want)
		}
	}
}

func TestASlowSubscriberLosesItsOwnEventsOnly(t *testing.T) {
	bus := New[int]()
	slow, quick := bus.Subscribe("slow", 2), bus.Subscribe("quick", 10)
	for i := range 7 {
		bus.Publish(i)
	}
	if slow.Dropped() != 5 || quick.Dropped() != 0 {
		t.Fatalf("dropped slow %d quick %d, want 5 and 0", slow.Dropped(), quick.Dropped())
	}
	for _, st := range bus.Stats() {
		if st.Name == "slow" && (st.Waiting != 2 || st.Dropped != 5) {
			t.Fatalf("stats of slow: %+v", st)
		}
	}
}

func TestCloseWhilePublishing(t *testing.T) {
	bus := New[int]()
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(2)
		s := bus.Subscribe("s", 1)
		go func() {
			defer wg.Done()
			for i := range 1000 {
				bus.Publish(i)
			}
		}()
		go func() {
			defer wg.Done()
			s.Close()
			s.Close()
		}()
	}
	wg.Wait()
	if n := len(bus.Stats()); n != 0 {
		t.Fatalf("%d subscribers left", n)
	}
}

func TestNilBusSwallows(t *testing.T) {
	var bus *Bus[string]
	bus.Publish("nobody hears this")
	if bus.Stats() != nil {
		t.Fatal("a nil bus has subscribers")
	}
}
