//go:build linux

package plane

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/picketwatch/picket/sdk/records"
)

func TestShelf(t *testing.T) {
	s := shelf[string]{frames: 3, bytes: 100}
	var gone []string
	add := func(what string, size int) {
		if !s.fits(size) {
			t.Errorf("%s of %d bytes does not fit", what, size)
		}
		s.add(what, size, func(what string) { gone = append(gone, what) })
	}
	is := func(what string) func(string) bool { return func(other string) bool { return other == what } }
	if s.fits(101) || (&shelf[string]{bytes: 100}).fits(1) {
		t.Error("it keeps what is too long, or keeps without room for any")
	}
	for i, size := range []int{10, 20, 30, 40} {
		add(string(rune('a'+i)), size)
	}
	if !slices.Equal(gone, []string{"a"}) || s.size != 90 {
		t.Errorf("gone are %v, %d bytes are kept", gone, s.size)
	}
	add("e", 100)
	if !slices.Equal(gone, []string{"a", "b", "c", "d"}) || s.size != 100 {
		t.Errorf("gone are %v, %d bytes are kept", gone, s.size)
	}
	if n := s.find(is("e")); n != 5 {
		t.Errorf("e has the number %d", n)
	}
	if s.find(is("d")) != 0 {
		t.Error("d is found")
	}
	for number := range uint64(8) {
		if what, ok := s.get(number); ok != (number == 5) || ok && what != "e" {
			t.Errorf("%d is %q, %v", number, what, ok)
		}
	}
	if _, ok := s.get(1<<64 - 1); ok {
		t.Error("the last of all numbers is kept")
	}
}

// seen are the frames that the instances were shown, as the answerer got them.
type seen struct {
	mu     sync.Mutex
	shared map[*records.Shared]int
	own    int
}

func (s *seen) answer(ctx context.Context, instance, capture string, frame []byte, shared *records.Shared) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if shared == nil {
		s.own++
	} else {
		s.shared[shared]++
		if !bytes.Equal(shared.Frame, frame) {
			return []byte("they differ")
		}
	}
	return echo(ctx, instance, capture, frame, nil)
}

func TestAFrameIsSentToAProcessOnce(t *testing.T) {
	s := &seen{shared: map[*records.Shared]int{}}
	e := connect(t, nil, s.answer)
	channels := []*Channel{e.open(t), e.open(t), e.open(t)}
	for i := range 3 * KeptFrames {
		frame := fmt.Sprint("frame ", i)
		block := NewBlock([]byte(frame))
		for _, c := range channels {
			p, err := c.SendBlock(testContext(t), "c", block)
			if err != nil {
				t.Fatal(err)
			}
			mustAnswer(t, p, fmt.Sprintf("i%d c %s", c.ID(), frame))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.shared) != 3*KeptFrames || s.own != 0 {
		t.Errorf("%d frames came for all and %d for one", len(s.shared), s.own)
	}
	for _, n := range s.shared {
		if n != len(channels) {
			t.Errorf("one was shown %d times", n)
		}
	}
}

// Who is far behind is sent what the others have long forgotten, and what he is shown stays as it is while others go on.
func TestWhoIsBehindHoldsUpNobody(t *testing.T) {
	release := make(chan struct{})
	var changed atomic.Bool
	e := connect(t, nil, func(ctx context.Context, instance, capture string, frame []byte, shared *records.Shared) []byte {
		if instance == "i1" {
			before := string(frame)
			<-release
			changed.Store(changed.Load() || before != string(frame))
		}
		return echo(ctx, instance, capture, frame, shared)
	})
	behind, quick := e.open(t), e.open(t)
	var late []*Pending
	var blocks []*Block
	for i := range 4 * KeptFrames {
		block := NewBlock([]byte(strings.Repeat(string(rune('a'+i%26)), 1000)))
		blocks = append(blocks, block)
		if i < Window {
			p, err := behind.SendBlock(testContext(t), "c", block)
			if err != nil {
				t.Fatal(err)
			}
			late = append(late, p)
		}
		p, err := quick.SendBlock(testContext(t), "c", block)
		if err != nil {
			t.Fatal(err)
		}
		mustAnswer(t, p, "i2 c "+string(block.Bytes()))
	}
	close(release)
	for i, p := range late {
		mustAnswer(t, p, "i1 c "+string(blocks[i].Bytes()))
	}
	for _, block := range blocks[Window:] {
		p, err := behind.SendBlock(testContext(t), "c", block)
		if err != nil {
			t.Fatal(err)
		}
		mustAnswer(t, p, "i1 c "+string(block.Bytes()))
	}
	if changed.Load() {
		t.Error("a frame changed while it was inspected")
	}
}

// A batch for an instance that was stopped is shown to nobody, and still kept for the others.
func TestAFrameOfAStoppedInstanceIsKept(t *testing.T) {
	e := connect(t, nil, echo)
	stopped, _, other := e.open(t), e.open(t), e.open(t)
	e.plugin.Close(stopped.ID())
	waitFor(t, func() bool { return e.plugin.find(stopped.ID()) == nil })
	block := NewBlock([]byte("frame"))
	p, err := stopped.SendBlock(testContext(t), "c", block)
	if err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, p, "there is no instance on channel 1 in this process")
	if p, err = other.SendBlock(testContext(t), "c", block); err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, p, "i3 c frame")
	if n := e.host.kept.last; n != 1 {
		t.Errorf("the plugin was sent the frame %d times", n)
	}
}

// A small frame does not lie in the memory of a large one: only frames are counted, and all of it would stay.
func TestMemoryOfLargeFramesIsNotUsedAgain(t *testing.T) {
	for size, again := range map[int]bool{1000: true, maxSpare: true, maxSpare + 1: false, KeptBytes: false} {
		p := &Plugin{kept: shelf[*lent]{frames: 1, bytes: KeptBytes}, spare: make(chan []byte, Window)}
		for range 2 {
			buf := make([]byte, size)
			if _, err := p.keep(buf, buf); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.buffer() != nil; got != again {
			t.Errorf("the memory of %d bytes is used again: %v", size, got)
		}
	}
}

// A single instance has nobody to keep a frame for, and neither keeps a process that does not say that it does.
func TestNothingIsKeptForNobody(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	p, err := c.SendBlock(testContext(t), "c", NewBlock([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, p, "i1 c x")
	if n := e.host.kept.last; n != 0 {
		t.Errorf("%d frames are kept", n)
	}
	for size, want := range map[int]hello{
		leastHello: {1, 4, 100, 0, 0}, helloSize - 1: {1, 4, 100, 0, 0}, helloSize: {1, 4, 100, 7, 8}, helloSize + 4: {1, 4, 100, 7, 8},
	} {
		body := append(hello{1, 4, 100, 7, 8}.append(nil), 1, 2, 3, 4)[:size]
		if got, err := parseHello(body); err != nil || got != want {
			t.Errorf("%d bytes: %v, %v", size, got, err)
		}
	}
}
