//go:build linux

package plane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk/records"
)

// slow answers every batch but "slow" at once, and that one when the test lets it.
func slow(release <-chan struct{}) Answerer {
	return func(ctx context.Context, instance, capture string, frame []byte, _ *records.Shared) []byte {
		if strings.HasPrefix(string(frame), "slow") {
			<-release
			return []byte("slow")
		}
		return echo(ctx, instance, capture, frame, nil)
	}
}

func mustSend(t *testing.T, c *Channel, frame string) *Pending {
	t.Helper()
	p, err := c.Send(testContext(t), "c", []byte(frame))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustAnswer(t *testing.T, p *Pending, want string) {
	t.Helper()
	if got, err := p.Wait(testContext(t)); err != nil || string(got) != want {
		t.Fatalf("got %.80q, %v; want %.80q", got, err, want)
	}
}

func (e ends) away() bool {
	e.plugin.mu.Lock()
	defer e.plugin.mu.Unlock()
	return e.plugin.relay.away
}

func TestALongBatchDoesNotKeepThePluginFromReading(t *testing.T) {
	release := make(chan struct{})
	e := connect(t, nil, slow(release))
	c := e.open(t)
	first := mustSend(t, c, "slow")
	waitFor(t, e.away)
	more := strings.Repeat("x", 2*socketBuffer) // the kernel keeps no two of them
	second, third := mustSend(t, c, more), mustSend(t, c, more)
	if e.away() {
		t.Error("nobody reads")
	}
	close(release)
	mustAnswer(t, first, "slow")
	mustAnswer(t, second, "i1 c "+more)
	mustAnswer(t, third, "i1 c "+more)
	for range 3 { // the one who was slow and the one in its place do not both read
		mustAnswer(t, mustSend(t, c, "x"), "i1 c x")
	}
}

func TestALongBatchDoesNotKeepTheNextInstance(t *testing.T) {
	release := make(chan struct{})
	e := connect(t, nil, slow(release))
	a := e.open(t)
	first := mustSend(t, a, "slow")
	waitFor(t, e.away)
	b := e.open(t)
	if e.away() {
		t.Error("nobody reads")
	}
	mustAnswer(t, mustSend(t, b, "x"), "i2 c x")
	close(release)
	mustAnswer(t, first, "slow")
	mustAnswer(t, mustSend(t, a, "x"), "i1 c x")
	mustAnswer(t, mustSend(t, b, "x"), "i2 c x")
}

func TestALongBatchDoesNotKeepSamples(t *testing.T) {
	release := make(chan struct{})
	e := connect(t, nil, slow(release))
	c := e.open(t)
	first := mustSend(t, c, "slow")
	waitFor(t, e.away)
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	defer call.End()
	out, err := e.plugin.Begin(testContext(t), c.ID(), call.Number(), CallFrames, CallBytes, decodeText)
	if err != nil {
		t.Fatal(err)
	}
	if e.away() {
		t.Error("nobody reads")
	}
	if err := out.Sample(testSample(1)); err != nil {
		t.Fatal(err)
	}
	closed := make(chan error, 1)
	go func() { closed <- out.Close() }()
	if err := call.Answer(testContext(t), []Message{<-call.Arrived()}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	second := mustSend(t, c, "x")
	close(release)
	mustAnswer(t, first, "slow")
	mustAnswer(t, second, "i1 c x")
}

func (h *Host) lent() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.loan.lent
}

// borrow waits for answers until who waits for them reads them.
func borrow(t *testing.T, h *Host, answer func()) {
	t.Helper()
	waitFor(t, func() bool {
		answer()
		return h.lent()
	})
}

func TestWhatComesIsReadAlsoWhenNobodyWaits(t *testing.T) {
	ring := newRing(t, grain)
	e := connect(t, ring, echo)
	c := e.open(t)
	answer := func() { mustAnswer(t, mustSend(t, c, "x"), "i1 c x") }

	borrow(t, e.host, answer)
	p := mustSend(t, c, "y")
	waitFor(t, func() bool { n, _ := c.InFlight(); return n == 0 })
	mustAnswer(t, p, "i1 c y")

	borrow(t, e.host, answer)
	p = mustSend(t, c, "y")
	if err := c.Drain(testContext(t)); err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, p, "i1 c y")

	borrow(t, e.host, answer)
	block, err := ring.Put(testContext(t), []byte("z"))
	if err != nil {
		t.Fatal(err)
	}
	if p, err = c.SendBlock(testContext(t), "c", block); err != nil {
		t.Fatal(err)
	}
	block.Release()
	if block, err = ring.Put(testContext(t), []byte("z")); err != nil { // room comes with the answer
		t.Fatal(err)
	}
	block.Release()
	mustAnswer(t, p, "i1 c z")

	borrow(t, e.host, answer)
	e.plugin.conn.close()
	waitFor(t, func() bool { return e.host.Err() != nil })
	if ring.recall(); len(ring.hosts) != 0 {
		t.Error("the ring has a host that is gone")
	}
}

func TestSamplesAfterALoan(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	borrow(t, e.host, func() { mustAnswer(t, mustSend(t, c, "x"), "i1 c x") })
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	if e.host.lent() {
		t.Error("nobody reads samples")
	}
	mustAnswer(t, mustSend(t, c, "x"), "i1 c x")
	if e.host.lent() {
		t.Error("who waits for an answer reads samples")
	}
	call.End()
	call.End() // counts once
	borrow(t, e.host, func() { mustAnswer(t, mustSend(t, c, "x"), "i1 c x") })
}

func TestLongAnswersAndManyWhoWait(t *testing.T) {
	e := connect(t, nil, echo)
	long := strings.Repeat("x", 8*readBuffer)
	var all sync.WaitGroup
	for range 3 {
		c := e.open(t)
		name := "i" + string(rune('0'+c.ID()))
		all.Go(func() {
			for n := range 200 {
				frame := long[:n%2*len(long)]
				p, err := c.Send(testContext(t), "c", []byte(frame))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := p.Wait(testContext(t)); err != nil || string(got) != name+" c "+frame {
					t.Errorf("got %.80q, %v", got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

// borrowFrom is borrow with a peer that answers nothing by itself. It returns the number of the last batch.
func borrowFrom(t *testing.T, c *Channel, peer raw) (seq uint64) {
	t.Helper()
	borrow(t, c.host, func() {
		seq++
		p := mustSend(t, c, "x")
		c.host.loan.wanted.Store(true)
		peer.write(message(Header{Type: Result, Channel: 1, Seq: seq}, nil))
		mustAnswer(t, p, "")
	})
	return seq
}

// Who gives up its wait in the middle of a message leaves it to the next.
func TestAWaitEndsInTheMiddleOfAnAnswer(t *testing.T) {
	c, peer := narrow(t, nil)
	result := func(seq uint64) []byte { return message(Header{Type: Result, Channel: 1, Seq: seq}, []byte("answer")) }
	seq := borrowFrom(t, c, peer)
	for _, cut := range []int{1, headerSize, headerSize + 1} {
		seq++
		p := mustSend(t, c, "x")
		peer.write(result(seq)[:cut])
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
		peer.write(result(seq)[cut:])
		seq++
		p = mustSend(t, c, "x")
		peer.write(result(seq))
		mustAnswer(t, p, "answer")
	}
}

func TestWhoWaitsMeetsAPluginThatBreaksTheRules(t *testing.T) {
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	fault := make(chan error, 1)
	h, err := NewHost(own, nil, func(err error) { fault <- err })
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	peer := rawPeer(t, child)
	peer.write(helloMessage(1))
	if spoken, err := h.Begin(time.Now().Add(patience)); err != nil || !spoken {
		t.Fatal(spoken, err)
	}
	c, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	seq := borrowFrom(t, c, peer)
	p := mustSend(t, c, "x")
	peer.write(message(Header{Type: Result, Channel: 1, Seq: seq + 7}, nil))
	if _, err := p.Wait(testContext(t)); !errors.Is(err, ErrProtocol) {
		t.Errorf("got %v", err)
	}
	wantFault(t, fault, fmt.Sprint("it must be that of ", seq+1))
}

func TestAPatientSocket(t *testing.T) {
	a, b := sockets(t)
	text := []byte("a message")
	for _, patient := range []bool{false, true, true, false, true} {
		b.setPatient(patient)
		if _, err := a.write([][]byte{text}, nil); err != nil {
			t.Fatal(err)
		}
		if ready(t, &b.in) == patient {
			t.Errorf("patient %v: the runtime hears the opposite", patient)
		}
		got := make([]byte, len(text))
		if _, err := io.ReadFull(b, got); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	waiting := make(chan error, 1)
	go func() {
		_, err := b.Read(make([]byte, 1))
		waiting <- err
	}()
	time.Sleep(time.Millisecond) // it waits by now, or reads a closed socket: both end
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if b.setPatient(false); !b.patient.Load() {
		t.Error("the descriptor of a closed socket is used")
	}
}

// empty reads what has arrived, and says how much that was.
func empty(t *testing.T, s *socket) (n int) {
	t.Helper()
	b := make([]byte, 64<<10)
	for {
		k, _, err := unix.Recvfrom(s.fd, b, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return n
		}
		if err != nil || k == 0 {
			t.Fatal(k, err)
		}
		n += k
	}
}

// The other side may make room after the write that found none, and before this one listens for room.
func TestASocketHearsOfRoomThatWasThereBefore(t *testing.T) {
	a, b := sockets(t)
	for {
		if err := unix.Sendto(a.fd, make([]byte, 1000), unix.MSG_DONTWAIT, nil); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	empty(t, b)
	listen := a.writing.listen
	a.writing.listen = func(ep uintptr, events uint32) error {
		if events != 0 {
			empty(t, b)
		}
		return listen(ep, events)
	}
	if err := a.setWriteDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		filled := 0
		for {
			n, err := unix.SendmsgN(a.fd, make([]byte, 64<<10), nil, nil, unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			filled += n
		}
		if _, err := a.write([][]byte{[]byte("x")}, nil); err != nil {
			t.Fatalf("behind %d bytes: %v", filled, err)
		}
		empty(t, b)
	}
}
