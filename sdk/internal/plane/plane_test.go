//go:build linux

package plane

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// patience bounds every wait; nothing is expected to take anywhere near as long.
const patience = 30 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// ends are both ends of a plane in one process.
type ends struct {
	host   *Host
	plugin *Plugin
	fault  chan error // of the host
	read   chan error // how the plugin's Read ended
}

func connect(t *testing.T, ring *Ring, answer Answerer) ends {
	t.Helper()
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	e := ends{fault: make(chan error, 1), read: make(chan error, 1)}
	if e.host, err = NewHost(own, ring, func(err error) { e.fault <- err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.host.Close)
	if e.plugin, err = OpenPlugin(child, answer, func(err error) []byte { return []byte(err.Error()) }); err != nil {
		t.Fatal(err)
	}
	go func() { e.read <- e.plugin.Read() }()
	if spoken, err := e.host.Begin(time.Now().Add(patience)); err != nil || !spoken {
		t.Fatalf("begin: %v %v", spoken, err)
	}
	return e
}

// open opens the same channel at both ends.
func (e ends) open(t *testing.T) *Channel {
	t.Helper()
	c, err := e.host.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.plugin.Open(c.ID(), fmt.Sprint("i", c.ID()), patience); err != nil {
		t.Fatal(err)
	}
	return c
}

// echo answers with the name of the instance, the capture and the frame.
func echo(_ context.Context, instance, capture string, frame []byte, _ *records.Shared) []byte {
	return []byte(instance + " " + capture + " " + string(frame))
}

func newRing(t *testing.T, size int) *Ring {
	t.Helper()
	r, err := NewRing(size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestBatches(t *testing.T) {
	ring := newRing(t, 1<<20)
	e := connect(t, ring, echo)
	ctx := testContext(t)
	a, b := e.open(t), e.open(t)
	large := strings.Repeat("x", 3<<20)
	for _, c := range []struct {
		channel *Channel
		capture string
		frame   string
		inRing  bool
		want    string
	}{
		{a, "c", "one", false, "i1 c one"},
		{b, "c", "two", true, "i2 c two"},
		{a, "d", "three", true, "i1 d three"},
		{a, "", large, false, "i1  " + large},
		{b, strings.Repeat("n", 1000), "", false, "i2 " + strings.Repeat("n", 1000) + " "},
	} {
		var p *Pending
		var err error
		if c.inRing {
			block, perr := ring.Put(ctx, []byte(c.frame))
			if perr != nil {
				t.Fatal(perr)
			}
			p, err = c.channel.SendBlock(ctx, c.capture, block)
			block.Release()
		} else {
			p, err = c.channel.Send(ctx, c.capture, []byte(c.frame))
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Wait(ctx); err != nil || string(got) != c.want {
			t.Errorf("got %.80q, %v; want %.80q", got, err, c.want)
		}
	}
	if s := ring.Stats(); s.Used != 0 || s.Blocks != 0 || s.Puts != 2 {
		t.Errorf("the ring afterwards: %+v", s)
	}
}

func TestTheWindowHoldsTheSenderBack(t *testing.T) {
	release := make(chan struct{})
	e := connect(t, nil, func(context.Context, string, string, []byte, *records.Shared) []byte { <-release; return nil })
	c := e.open(t)
	var sent []*Pending
	for range Window {
		p, err := c.Send(testContext(t), "c", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		sent = append(sent, p)
	}
	if n, _ := c.InFlight(); n != Window {
		t.Errorf("%d in flight", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Send(ctx, "c", []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("one more was sent: %v", err)
	}
	close(release)
	for _, p := range sent {
		if _, err := p.Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Drain(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if p, err := c.Send(testContext(t), "c", []byte("x")); err != nil {
		t.Fatal(err)
	} else if _, err := p.Wait(testContext(t)); err != nil {
		t.Fatal(err)
	}
}

// narrow is the host's end of a plane with a channel, and a peer whose window has room for no byte.
func narrow(t *testing.T, ring *Ring) (*Channel, raw) {
	t.Helper()
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(own, ring, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	peer := rawPeer(t, child)
	peer.write(message(Header{Type: Hello}, hello{Major, 4, 0, 0, 0}.append(nil)))
	if spoken, err := h.Begin(time.Now().Add(patience)); err != nil || !spoken {
		t.Fatal(spoken, err)
	}
	c, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	return c, peer
}

// One batch alone may always be sent, also while nobody has fetched the answers before it.
func TestASmallWindowOfBytes(t *testing.T) {
	c, peer := narrow(t, nil)
	var sent []*Pending
	for seq := range uint64(3) {
		if !c.Fits("c", []byte("x"), nil) {
			t.Errorf("no room for batch %d", seq+1)
		}
		p, err := c.Send(testContext(t), "c", []byte("x"))
		if err != nil {
			t.Fatalf("batch %d: %v", seq+1, err)
		}
		sent = append(sent, p)
		if c.Fits("c", nil, nil) {
			t.Error("a second one beside it")
		}
		if seq == 0 {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			if _, err := c.Send(ctx, "c", nil); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a second one beside it was sent: %v", err)
			}
			cancel()
		}
		peer.write(message(Header{Type: Result, Channel: 1, Seq: seq + 1}, []byte{byte(seq)}))
		waitFor(t, func() bool { n, _ := c.InFlight(); return n == 0 })
	}
	for seq, p := range sent {
		if got, err := p.Wait(testContext(t)); err != nil || !bytes.Equal(got, []byte{byte(seq)}) {
			t.Errorf("answer %d: %v %v", seq+1, got, err)
		}
	}
}

func TestWhoDoesNotWaitKeepsNoPlace(t *testing.T) {
	release := make(chan struct{})
	e := connect(t, nil, func(context.Context, string, string, []byte, *records.Shared) []byte {
		<-release
		return []byte("late")
	})
	c := e.open(t)
	for range Window {
		p, err := c.Send(testContext(t), "c", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	close(release)
	for range 3 * Window {
		p, err := c.Send(testContext(t), "c", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Wait(testContext(t)); string(got) != "late" || err != nil {
			t.Fatalf("%q %v", got, err)
		}
	}
}

func TestAStoppedInstance(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	e.plugin.Close(c.ID())
	// The worker leaves at some time; before and after, each batch has one answer.
	for range 100 {
		p, err := c.Send(testContext(t), "c", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Wait(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	if _, err := c.Send(testContext(t), "c", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	other := e.open(t)
	p, err := other.Send(testContext(t), "c", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Wait(testContext(t)); err != nil || string(got) != "i2 c x" {
		t.Errorf("%q %v", got, err)
	}
}

func TestTheEndOfThePluginEndsEveryWait(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	ring := newRing(t, 1<<20)
	e := connect(t, ring, func(context.Context, string, string, []byte, *records.Shared) []byte { <-hang; return nil })
	c := e.open(t)
	block, err := ring.Put(testContext(t), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.SendBlock(testContext(t), "c", block)
	if err != nil {
		t.Fatal(err)
	}
	block.Release()
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	e.plugin.conn.close()
	if _, err := p.Wait(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("wait: %v", err)
	}
	<-call.Gone()
	if err := c.Drain(testContext(t)); !errors.Is(err, ErrClosed) {
		t.Errorf("drain: %v", err)
	}
	if _, err := c.Send(testContext(t), "c", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("send: %v", err)
	}
	if s := ring.Stats(); s.Blocks != 0 {
		t.Errorf("%d blocks are left", s.Blocks)
	}
	select {
	case err := <-e.fault:
		t.Errorf("the end is no fault: %v", err)
	default:
	}
}

func testSample(i int) sdk.Sample {
	return sdk.Sample{Metric: "test.n", Type: sdk.Counter, Unit: "1", Labels: map[string]string{"i": fmt.Sprint(i)}, Time: time.Unix(1, 0).UTC(), Value: float64(i)}
}

// decodeText makes an error of a refusal.
func decodeText(b []byte) error { return errors.New(string(b)) }

func TestSamplesWithAcknowledgement(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	ctx := testContext(t)
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	done := make(chan error, 1)
	var ended atomic.Bool
	go func() {
		o, err := e.plugin.Begin(ctx, c.ID(), call.Number(), CallFrames, CallBytes, decodeText)
		if err != nil {
			done <- err
			return
		}
		for i := range n {
			if err := o.Sample(testSample(i)); err != nil {
				done <- err
				return
			}
		}
		err = o.Close()
		ended.Store(true)
		done <- err
	}()
	got := 0
	for got < n {
		m := <-call.Arrived()
		samples, err := records.DecodeVerifiedSamples(m.Frame(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			if s.Value != float64(got) || s.Labels["i"] != fmt.Sprint(got) {
				t.Fatalf("sample %d is %+v", got, s)
			}
			got++
		}
		if ended.Load() {
			t.Fatal("the call ended before all was acknowledged")
		}
		if err := call.Answer(ctx, []Message{m}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestSamplesWaitForCredit(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	o, err := e.plugin.Begin(ctx, c.ID(), call.Number(), 2, CallBytes, decodeText)
	if err != nil {
		t.Fatal(err)
	}
	var emitted atomic.Int64
	done := make(chan error, 1)
	go func() {
		for i := 0; ; i++ {
			if err := o.Sample(testSample(i)); err != nil {
				done <- err
				return
			}
			emitted.Add(1)
		}
	}()
	for range 2 {
		<-call.Arrived()
	}
	// Two messages are out and a third waits; each is full unless the machine was too slow for that.
	for last := int64(-1); emitted.Load() != last && last <= 3*sampleRows; time.Sleep(20 * time.Millisecond) {
		last = emitted.Load()
	}
	if n := emitted.Load(); n > 3*sampleRows {
		t.Errorf("%d samples without credit", n)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := o.Close(); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestRefusedSamplesEndTheCall(t *testing.T) {
	e := connect(t, nil, echo)
	c := e.open(t)
	call, err := c.Call()
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.plugin.Begin(testContext(t), c.ID(), call.Number(), CallFrames, CallBytes, decodeText)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Sample(testSample(1)); err != nil {
		t.Fatal(err)
	}
	m := <-call.Arrived() // sent though it is alone: samples do not wait long
	if err := call.Answer(testContext(t), []Message{m}, []byte("the disk is full")); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err == nil || err.Error() != "the disk is full" {
		t.Errorf("got %v", err)
	}
	if err := o.Sample(testSample(2)); err == nil {
		t.Error("a sample after the refusal")
	}
	call.End()
	next, err := e.plugin.Begin(testContext(t), c.ID(), call.Number(), 1, CallBytes, decodeText)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.Sample(testSample(3)); err != nil {
		t.Fatal(err)
	}
	for e.host.Dropped() == 0 { // what comes for an ended call
		time.Sleep(time.Millisecond)
	}
}

// raw is a peer that sends what it likes.
type raw struct {
	t    *testing.T
	sock net.Conn
}

func (r raw) write(parts ...[]byte) {
	r.t.Helper()
	if _, err := r.sock.Write(bytes.Join(parts, nil)); err != nil && !reset(err) {
		r.t.Error(err)
	}
}

func rawPeer(t *testing.T, f *os.File) raw {
	t.Helper()
	sock, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sock.Close() })
	return raw{t, sock}
}

func message(h Header, body []byte) []byte {
	h.Length = uint32(len(body))
	return append(h.append(nil), body...)
}

func helloMessage(major uint32) []byte {
	return message(Header{Type: Hello}, hello{major, 4, 1 << 20, 2, 1 << 20}.append(nil))
}

func samplesBody(call uint32) []byte {
	o := ref{offset: uint64(call)}.append(nil)[:callSize]
	return records.AppendSamples(o, []sdk.Sample{testSample(1)})
}

func TestHostilePlugins(t *testing.T) {
	sample := func(seq uint64) []byte { return message(Header{Type: Samples, Channel: 1, Seq: seq}, samplesBody(1)) }
	flagged := message(Header{Type: Result, Channel: 1, Seq: 1}, nil)
	flagged[9] = 1
	reserved := message(Header{Type: Result, Channel: 1, Seq: 1}, nil)
	reserved[11] = 1
	long := Header{Type: Samples, Channel: 1, Seq: 1, Length: MaxSamples + 1}.append(nil)
	largest := Header{Type: Result, Channel: 1, Seq: 1, Length: 1<<32 - 1}.append(nil)
	call0 := message(Header{Type: Samples, Channel: 1, Seq: 1}, samplesBody(0))
	padded := message(Header{Type: Samples, Channel: 1, Seq: 1}, samplesBody(1))
	padded[headerSize+5] = 1
	var flood []byte
	for seq := range uint64(CallFrames + 1) {
		flood = append(flood, sample(seq+1)...)
	}
	for name, c := range map[string]struct {
		hello, then []byte
		want        string
	}{
		"another magic":      {helloMessage(1), bytes.Repeat([]byte("x"), headerSize), "magic"},
		"HTTP":               {[]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), nil, "magic"},
		"unknown type":       {helloMessage(1), message(Header{Type: 10, Channel: 1, Seq: 1}, nil), "no message of type 10"},
		"type 0":             {helloMessage(1), message(Header{Channel: 1, Seq: 1}, nil), "no message of type 0"},
		"type of the host":   {helloMessage(1), message(Header{Type: Batch, Channel: 1, Seq: 1}, make([]byte, 2)), "the plugin sends BATCH"},
		"HELLO twice":        {helloMessage(1), helloMessage(1), "the plugin sends HELLO"},
		"HELLO not first":    {flagged[:0:0], message(Header{Type: Result, Channel: 1, Seq: 1}, nil), "RESULT instead of HELLO"},
		"a later major":      {helloMessage(7), nil, "major version 7"},
		"a flag":             {helloMessage(1), flagged, "flag"},
		"a reserved byte":    {helloMessage(1), reserved, "reserved"},
		"too long":           {helloMessage(1), long, "with a body of"},
		"far too long":       {helloMessage(1), largest, "with a body of"},
		"no channel":         {helloMessage(1), message(Header{Type: Result, Seq: 1}, nil), "without a channel"},
		"RESULT of nothing":  {helloMessage(1), message(Header{Type: Result, Channel: 1, Seq: 2}, nil), "it must be that of 1"},
		"RESULT twice":       {helloMessage(1), bytes.Repeat(message(Header{Type: Result, Channel: 1, Seq: 1}, nil), 2), "none is on its way"},
		"a foreign channel":  {helloMessage(1), message(Header{Type: Result, Channel: 99, Seq: 1}, nil), "channel 99, which does not exist"},
		"a gap":              {helloMessage(1), sample(2), "it must be 1"},
		"a duplicate":        {helloMessage(1), append(sample(1), sample(1)...), "it must be 2"},
		"call 0":             {helloMessage(1), call0, "call 0"},
		"a call to come":     {helloMessage(1), message(Header{Type: Samples, Channel: 1, Seq: 1}, samplesBody(9)), "call 9 of channel 1, which does not exist"},
		"padding":            {helloMessage(1), padded, "reserved"},
		"beyond the credit":  {helloMessage(1), flood, "beyond its credit"},
		"samples too short":  {helloMessage(1), message(Header{Type: Samples, Channel: 1, Seq: 1}, make([]byte, 7)), "with a body of 7"},
		"HELLO too short":    {message(Header{Type: Hello}, make([]byte, 11)), nil, "with a body of 11"},
		"a ring from it":     {helloMessage(1), message(Header{Type: RingMemory}, make([]byte, 8)), "the plugin sends RING"},
		"HELLO with a ring":  {append(append([]byte(nil), helloMessage(1)[:9]...), append([]byte{1}, helloMessage(1)[10:]...)...), nil, "instead of HELLO"},
		"credit from it":     {helloMessage(1), message(Header{Type: Credit, Channel: 1, Seq: 1}, make([]byte, 8)), "the plugin sends CREDIT"},
		"an ACK from it":     {helloMessage(1), message(Header{Type: Ack, Channel: 1, Seq: 1}, nil), "the plugin sends ACK"},
		"RESULT of number 0": {helloMessage(1), message(Header{Type: Result, Channel: 1}, nil), "without a channel or number"},
	} {
		t.Run(name, func(t *testing.T) {
			own, child, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			fault := make(chan error, 2)
			h, err := NewHost(own, nil, func(err error) { fault <- err })
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			peer := rawPeer(t, child)
			peer.write(c.hello)
			if len(c.hello) == 0 {
				peer.write(c.then)
			}
			if spoken, err := h.Begin(time.Now().Add(patience)); err != nil {
				fault <- err
			} else if !spoken {
				t.Fatal("no HELLO seen")
			} else {
				ch, err := h.Open()
				if err != nil {
					t.Fatal(err)
				}
				if _, err := ch.Send(testContext(t), "c", []byte("x")); err != nil {
					t.Fatal(err)
				}
				if _, err := ch.Call(); err != nil {
					t.Fatal(err)
				}
				peer.write(c.then)
			}
			select {
			case err := <-fault:
				if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			case <-time.After(patience):
				t.Fatal("it was believed")
			}
		})
	}
}

func TestHostileHosts(t *testing.T) {
	batch := func(seq uint64, body ...byte) []byte { return message(Header{Type: Batch, Channel: 1, Seq: seq}, body) }
	refTo := func(offset uint64, n uint32) []byte {
		return message(Header{Type: BatchRef, Channel: 1, Seq: 1}, ref{offset, n}.append([]byte{0, 0}))
	}
	keep := func(seq uint64, frame string) []byte {
		return message(Header{Type: Batch, Flags: keepFrame, Channel: 1, Seq: seq}, append([]byte{0, 0}, frame...))
	}
	keptAs := func(seq, number uint64) []byte {
		return message(Header{Type: BatchKept, Channel: 1, Seq: seq}, binary.LittleEndian.AppendUint64([]byte{0, 0}, number))
	}
	withRing := helloMessage(1)
	withRing[9] = ringFollows
	for name, c := range map[string]struct {
		send []byte
		want string
	}{
		"another magic":    {bytes.Repeat([]byte("x"), 100), "magic"},
		"a later major":    {helloMessage(2), "major version 2"},
		"no HELLO":         {batch(1, 0, 0), "BATCH instead of HELLO"},
		"no descriptor":    {append(withRing[:len(withRing):len(withRing)], message(Header{Type: RingMemory}, make([]byte, 8))...), "without a descriptor"},
		"no ring":          {append(withRing[:len(withRing):len(withRing)], batch(1, 0, 0)...), "BATCH instead of RING"},
		"a gap":            {append(helloMessage(1), batch(2, 0, 0)...), "it must be 1"},
		"a long name":      {append(helloMessage(1), batch(1, 255, 255, 'x')...), "with a name of 65535"},
		"outside the ring": {append(helloMessage(1), refTo(0, 1)...), "outside of the ring"},
		"beyond the end":   {append(helloMessage(1), refTo(1<<63, 1<<31)...), "outside of the ring"},
		"a bent reference": {append(helloMessage(1), message(Header{Type: BatchRef, Channel: 1, Seq: 1}, make([]byte, 15))...), "a reference of 13"},
		"not kept":         {append(helloMessage(1), keptAs(1, 1)...), "frame 1 is not kept"},
		"frame 0":          {append(helloMessage(1), keptAs(1, 0)...), "frame 0 is not kept"},
		"kept no more":     {append(helloMessage(1), bytes.Join([][]byte{keep(1, "a"), keep(2, "b"), keep(3, "c"), keptAs(4, 1)}, nil)...), "frame 1 is not kept, the newest is 3"},
		"a long number":    {append(helloMessage(1), message(Header{Type: BatchKept, Channel: 1, Seq: 1}, make([]byte, 2+numberSize+1))...), "a number of 9 bytes"},
		"too long to keep": {append(helloMessage(1), keep(1, strings.Repeat("x", 1<<20+1))...), "to be kept"},
		"another flag":     {append(helloMessage(1), message(Header{Type: Batch, Flags: 2, Channel: 1, Seq: 1}, []byte{0, 0})...), "flag"},
		"a RESULT":         {append(helloMessage(1), message(Header{Type: Result, Channel: 1, Seq: 1}, nil)...), "the host sends RESULT"},
		"beyond window":    {append(helloMessage(1), bytes.Join([][]byte{batch(1, 0, 0), batch(2, 0, 0), batch(3, 0, 0), batch(4, 0, 0), batch(5, 0, 0), batch(6, 0, 0)}, nil)...), "more than 4 batches"},
	} {
		t.Run(name, func(t *testing.T) {
			own, child, err := Pair()
			if err != nil {
				t.Fatal(err)
			}
			hang := make(chan struct{})
			defer close(hang)
			p, err := OpenPlugin(child, func(context.Context, string, string, []byte, *records.Shared) []byte { <-hang; return nil }, func(error) []byte { return nil })
			if err != nil {
				t.Fatal(err)
			}
			defer p.conn.close()
			if err := p.Open(1, "i", 0); err != nil {
				t.Fatal(err)
			}
			read := make(chan error, 1)
			go func() { read <- p.Read() }()
			rawPeer(t, own).write(c.send)
			select {
			case err := <-read:
				if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			case <-time.After(patience):
				t.Fatal("it was believed")
			}
		})
	}
}

// A plugin that stops reading holds up its own batches, for as long as the caller is willing to wait.
func TestAPluginThatDoesNotRead(t *testing.T) {
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
	rawPeer(t, child).write(helloMessage(1))
	if spoken, err := h.Begin(time.Now().Add(patience)); err != nil || !spoken {
		t.Fatal(spoken, err)
	}
	c, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Send(ctx, "c", make([]byte, 8<<20)); err == nil {
		t.Fatal("8 MiB were written to nobody")
	}
	select { // a message was written in part: the process must go
	case err := <-fault:
		if !strings.Contains(err.Error(), "write to the record plane") {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("no fault")
	}
}

func TestAPluginWithoutThePlane(t *testing.T) {
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	h, err := NewHost(own, nil, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if spoken, err := h.Begin(time.Now().Add(patience)); spoken || err != nil {
		t.Errorf("%v %v", spoken, err)
	}
}

func FuzzHost(f *testing.F) {
	f.Add(append(message(Header{Type: Result, Channel: 1, Seq: 1}, []byte("x")), message(Header{Type: Samples, Channel: 1, Seq: 1}, samplesBody(1))...))
	f.Add([]byte("PKPL"))
	f.Fuzz(func(t *testing.T, data []byte) {
		own, child, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		h, err := NewHost(own, nil, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		peer := rawPeer(t, child)
		peer.write(helloMessage(1))
		if spoken, err := h.Begin(time.Now().Add(patience)); err != nil || !spoken {
			t.Fatal(spoken, err)
		}
		c, err := h.Open()
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.Send(t.Context(), "c", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Call(); err != nil {
			t.Fatal(err)
		}
		peer.write(data)
		peer.sock.Close()
		<-h.down
		_, _ = p.Wait(t.Context())
	})
}

func FuzzPlugin(f *testing.F) {
	f.Add(append(helloMessage(1), message(Header{Type: Batch, Channel: 1, Seq: 1}, []byte{1, 0, 'c', 'x'})...))
	f.Add(append(helloMessage(1), message(Header{Type: BatchRef, Channel: 1, Seq: 1}, make([]byte, 14))...))
	f.Add(append(helloMessage(1), message(Header{Type: Credit, Channel: 1, Seq: 1}, make([]byte, 8))...))
	f.Add(append(helloMessage(1), message(Header{Type: Ack, Channel: 1, Seq: 1}, []byte("x"))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		own, child, err := Pair()
		if err != nil {
			t.Fatal(err)
		}
		p, err := OpenPlugin(child, echo, func(error) []byte { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Open(1, "i", 0); err != nil {
			t.Fatal(err)
		}
		peer := rawPeer(t, own)
		go func() { _, _ = io.Copy(io.Discard, peer.sock) }()
		peer.write(data)
		_ = peer.sock.(*net.UnixConn).CloseWrite()
		_ = p.Read()
		p.conn.close()
		p.Close(1)
	})
}

func TestTheRingIsForReadingOnly(t *testing.T) {
	r := newRing(t, 64<<10)
	fd, err := unix.Dup(int(r.file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EPERM) {
		t.Errorf("a second mapping for writing: %v", err)
	}
	if _, err := unix.Pwrite(fd, []byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write: %v", err)
	}
	if err := unix.Ftruncate(fd, 4096); !errors.Is(err, unix.EPERM) {
		t.Errorf("shrink: %v", err)
	}
	again, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mapMemory(again, 1<<20); !errors.Is(err, ErrProtocol) {
		t.Errorf("a ring larger than its file: %v", err)
	}
}

func TestTheRingIsShared(t *testing.T) {
	r := newRing(t, 64<<10)
	ctx := testContext(t)
	var blocks []*Block
	for i := range 4 {
		b, err := r.Put(ctx, bytes.Repeat([]byte{byte(i)}, 16<<10))
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, b)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.Put(short, []byte("x")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a full ring took a block: %v", err)
	}
	if s := r.Stats(); s.Used != 64<<10 || s.Blocks != 4 || s.Waits != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := r.Put(ctx, make([]byte, 65<<10)); err == nil {
		t.Error("a block larger than the ring")
	}
	// The slow reader of one block holds up nobody else.
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				want := bytes.Repeat([]byte{byte(i)}, 1+i*97)
				b, err := r.Append(ctx, len(want)/2+1, func(dst []byte) []byte { return append(dst, want...) })
				if err != nil {
					t.Error(err)
					return
				}
				if !bytes.Equal(b.Bytes(), want) {
					t.Error("another frame lies in the block")
				}
				b.Release()
			}
		})
	}
	for _, b := range blocks[1:] {
		b.Release()
	}
	wg.Wait()
	if !bytes.Equal(blocks[0].Bytes(), make([]byte, 16<<10)) {
		t.Error("a block that is held has changed")
	}
	blocks[0].Release()
	if s := r.Stats(); s.Used != 0 || len(r.free) != 1 {
		t.Errorf("%+v, %d holes", s, len(r.free))
	}
}

// A ring that was closed while a process came up is not offered to it, and its blocks are sent.
func TestAClosedRingIsNotLent(t *testing.T) {
	ring := newRing(t, 64<<10)
	block, err := ring.Put(testContext(t), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	ring.Close()
	e := connect(t, ring, echo)
	p, err := e.open(t).SendBlock(testContext(t), "c", block)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := p.Wait(testContext(t)); err != nil || string(got) != "i1 c x" {
		t.Errorf("%q %v", got, err)
	}
	block.Release()
}

// A ring may be closed while somebody asks it for room. The race detector watches.
func TestARingIsClosedUnderItsUsers(t *testing.T) {
	ctx := testContext(t)
	for range 50 {
		ring := newRing(t, 64<<10)
		var users sync.WaitGroup
		for range 2 {
			users.Go(func() {
				for {
					b, err := ring.Put(ctx, []byte("x"))
					if err != nil {
						return
					}
					b.Release()
				}
			})
		}
		time.Sleep(time.Millisecond)
		ring.Close()
		users.Wait()
		wantEmpty(t, ring)
	}
}

// A plugin that begins its greeting and falls silent holds the host up no longer than the host is willing to wait.
func TestHalfAHello(t *testing.T) {
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHost(own, nil, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	rawPeer(t, child).write(helloMessage(1)[:1])
	done := make(chan error, 1)
	go func() {
		_, err := h.Begin(time.Now().Add(20 * time.Millisecond))
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the host waits")
	}
}

// unsentBehind is a plane on which a batch waits behind an obstacle: nothing of it can be written.
func unsentBehind(t *testing.T, ring *Ring, obstacle func(*Host)) (h *Host, peer raw, giveUp func() error, fault chan error) {
	t.Helper()
	own, child, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	fault = make(chan error, 2)
	if h, err = NewHost(own, ring, func(err error) { fault <- err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	peer = rawPeer(t, child)
	peer.write(helloMessage(1))
	if spoken, err := h.Begin(time.Now().Add(patience)); err != nil || !spoken {
		t.Fatal(spoken, err)
	}
	c, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	block, err := ring.Put(testContext(t), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	obstacle(h)
	ctx, cancel := context.WithCancel(testContext(t))
	sent := make(chan error, 1)
	go func() {
		_, err := c.SendBlock(ctx, "c", block)
		block.Release()
		sent <- err
	}()
	waitFor(t, func() bool { n, _ := c.InFlight(); return n == 1 })
	return h, peer, func() error { cancel(); return <-sent }, fault
}

// fill writes until nothing more fits: the peer does not read.
func fill(h *Host) {
	junk := make([]byte, 64<<10)
	for size := len(junk); size > 0; size /= 2 {
		for {
			_ = h.conn.sock.setWriteDeadline(time.Now().Add(20 * time.Millisecond))
			if _, err := h.conn.sock.write([][]byte{junk[:size]}, nil); err != nil {
				break
			}
		}
	}
	_ = h.conn.sock.setWriteDeadline(time.Time{})
}

func waitFor(t *testing.T, what func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func wantFault(t *testing.T, fault chan error, want string) {
	t.Helper()
	select {
	case err := <-fault:
		if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	case <-time.After(patience):
		t.Fatal("it was believed")
	}
}

func wantEmpty(t *testing.T, ring *Ring) {
	t.Helper()
	waitFor(t, func() bool { return ring.Stats().Blocks == 0 })
	if s := ring.Stats(); s.Used != 0 {
		t.Errorf("the ring afterwards: %+v", s)
	}
}

// A plugin must not answer what it cannot have seen.
func TestAResultBeforeItsBatch(t *testing.T) {
	t.Run("the batch waits for its turn", func(t *testing.T) {
		ring := newRing(t, 1<<20)
		h, peer, giveUp, fault := unsentBehind(t, ring, func(h *Host) { h.conn.turn <- struct{}{} })
		peer.write(message(Header{Type: Result, Channel: 1, Seq: 1}, nil))
		wantFault(t, fault, "batch 1 of channel 1, which was not sent")
		<-h.down
		if err := giveUp(); err == nil {
			t.Error("the batch was sent")
		}
		wantEmpty(t, ring)
	})
	t.Run("nothing of the batch is written", func(t *testing.T) {
		ring := newRing(t, 1<<20)
		h, peer, giveUp, fault := unsentBehind(t, ring, fill)
		c := h.channels[1]
		waitFor(t, func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.pending[0].begun
		})
		peer.write(message(Header{Type: Result, Channel: 1, Seq: 1}, nil))
		waitFor(t, func() bool { n, _ := c.InFlight(); return n == 0 })
		if err := giveUp(); err == nil {
			t.Error("the batch was sent")
		}
		wantFault(t, fault, "batch 1 of channel 1, which was not sent")
		wantEmpty(t, ring)
	})
	t.Run("the plane goes down meanwhile", func(t *testing.T) {
		ring := newRing(t, 1<<20)
		h, _, giveUp, _ := unsentBehind(t, ring, func(h *Host) { h.conn.turn <- struct{}{} })
		h.Close()
		if err := giveUp(); err == nil {
			t.Error("the batch was sent")
		}
		wantEmpty(t, ring)
	})
}
