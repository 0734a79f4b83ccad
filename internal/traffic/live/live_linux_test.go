package live

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/facts"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// options are those of a worker that is asked for everything. The facts are thrown away.
func options() (traffic.Options, *facts.Maker, error) {
	maker, err := facts.New(facts.Config{Kinds: sdk.FactKinds, Emit: func(string, []byte) error { return nil }})
	if err != nil {
		return traffic.Options{}, nil, err
	}
	return traffic.Options{Flow: flow.Config{Features: true, Apps: maker.Engine()}}, maker, nil
}

// keep is what an analysis emits.
type keep struct {
	flows []sdk.Flow
	sum   traffic.Summary
	err   error
}

func (k *keep) add(batch []sdk.Flow) error {
	for _, f := range batch {
		f.Packets = slices.Clone(f.Packets)
		if f.Features != nil {
			further := *f.Features
			f.Features = &further
		}
		k.flows = append(k.flows, f)
	}
	return nil
}

func (k *keep) sorted() []sdk.Flow {
	slices.SortFunc(k.flows, func(a, b sdk.Flow) int { return int(a.ID) - int(b.ID) })
	return k.flows
}

// analyse reads a ring until stop is called.
func analyse(r traffic.Source, cancel func()) (stop func() *keep) {
	k, done := &keep{}, make(chan struct{})
	go func() {
		defer close(done)
		o, maker, err := options()
		if err != nil {
			k.err = err
			return
		}
		k.sum, k.err = traffic.AnalyzeSource(context.Background(), r, o, maker.Flows(k.add))
	}()
	return func() *keep { cancel(); <-done; return k }
}

// dump has tcpdump write what passes at a machine's eth0.
func (l *link) dump(ns, file string, args ...string) (stop func()) {
	l.t.Helper()
	if _, err := exec.LookPath("tcpdump"); err != nil {
		l.t.Skip("tcpdump is not installed")
	}
	stop = l.start(ns, append([]string{"tcpdump", "-n", "-i", "eth0", "-w", file, "-U", "--immediate-mode", "-s", "0", "-B", "16384", "-Z", "root", "--time-stamp-precision=nano"}, args...)...)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(file); err == nil && info.Size() >= 24 { // the header is written when the socket is open
			return stop
		}
	}
	l.t.Fatal("tcpdump does not begin")
	return nil
}

// TestLikeTcpdump lets real programs talk and wants of the ring what the engine makes of tcpdump's file of the same minutes.
func TestLikeTcpdump(t *testing.T) {
	l := newLink(t)
	const filter = "net 10.77.0.0/24 or net fd77::/64 and not icmp6"
	file := filepath.Join(t.TempDir(), "live.pcap")
	socket := l.open(l.right, packetsocket.Config{Interface: "eth0", Filter: filter, Promiscuous: true})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopDump := l.dump(l.right, file, filter)
	tee := &recording{Source: l.ring(ctx, socket)}
	stop := analyse(tee, cancel)
	used := talk(l)
	time.Sleep(200 * time.Millisecond) // for the last block and tcpdump's last write
	live := stop()
	stopDump()

	if live.err != nil {
		t.Fatal(live.err)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	offline, again := fromFile(t, inOrderOf(t, tee.file, raw)), fromFile(t, tee.file)
	counts, err := socket.Counts()
	if err != nil || counts.Dropped != 0 || counts.Packets != live.sum.Packets {
		t.Errorf("the kernel counts %+v (%v), %d packets were read", counts, err, live.sum.Packets)
	}
	t.Logf("%d packets, %d flows", live.sum.Packets, len(live.flows))
	if live.sum.Packets < 100 {
		t.Errorf("only %d packets in %d flows", live.sum.Packets, len(live.flows))
	}
	for _, name := range used {
		if !slices.ContainsFunc(live.flows, func(f sdk.Flow) bool { return f.App == name }) {
			t.Errorf("no flow of %s was seen", name)
		}
	}
	if diff := cmp.Diff(again.sorted(), live.sorted(), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the same packets from a file (-) and from the ring (+):\n%.4000s", diff)
	}
	if diff := cmp.Diff(offline.sorted(), live.sorted(), cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty(), timesOfTCP); diff != "" {
		t.Errorf("flows of tcpdump's file (-) and of the ring (+):\n%.4000s", diff)
	}
	if offline.sum.Bytes != live.sum.Bytes || offline.sum.Outcomes != live.sum.Outcomes {
		t.Errorf("of the file %+v\nof the ring %+v", offline.sum, live.sum)
	}
}

// timesOfTCP are not compared with tcpdump's: over a veth a segment still carries the time at which it was to be sent in the
// place of a stamp, so that the kernel stamps it for each socket anew. The engine's own times are compared above.
var timesOfTCP = cmp.FilterPath(func(p cmp.Path) bool {
	field, ok := p.Last().(cmp.StructField)
	if !ok || len(p) < 3 {
		return false
	}
	if field.Name() == "Features" { // many are made of times
		return true
	}
	f, _ := p.Index(-2).Values()
	if !f.IsValid() || f.FieldByName("Proto").Uint() != sdk.ProtoTCP {
		return false
	}
	return field.Name() == "Start" || field.Name() == "End" || field.Name() == "HandshakeRTT" || strings.Contains(field.Name(), "IAT")
}, cmp.Ignore())

// recording keeps what a source gives, as a capture file.
type recording struct {
	traffic.Source
	file []byte
}

func (r *recording) Next(p *capture.Packet) error {
	if r.file == nil {
		r.file = binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
		r.file = append(r.file, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	}
	err := r.Source.Next(p)
	if err == nil {
		for _, v := range []int64{p.Time / 1e9, p.Time % 1e9, int64(len(p.Data)), int64(p.Length)} {
			r.file = binary.LittleEndian.AppendUint32(r.file, uint32(v))
		}
		r.file = append(r.file, p.Data...)
	}
	return err
}

func fromFile(t *testing.T, raw []byte) *keep {
	t.Helper()
	k := &keep{}
	o, maker, err := options()
	if err != nil {
		t.Fatal(err)
	}
	if k.sum, k.err = traffic.Analyze(t.Context(), bytes.NewReader(raw), o, maker.Flows(k.add)); k.err != nil {
		t.Fatal(k.err)
	}
	return k
}

// inOrderOf gives the packets of one capture file in the order in which another has them. What two processors deliver at once,
// each socket queues in an order of its own.
func inOrderOf(t *testing.T, order, raw []byte) []byte {
	t.Helper()
	const header, record = 24, 16
	packets := func(file []byte, each func(data, whole []byte)) {
		for rest := file[header:]; len(rest) > 0; {
			end := record + binary.LittleEndian.Uint32(rest[8:])
			each(rest[record:end], rest[:end])
			rest = rest[end:]
		}
	}
	same := map[string][][]byte{}
	packets(raw, func(data, whole []byte) { same[string(data)] = append(same[string(data)], whole) })
	out := bytes.Clone(raw[:header])
	packets(order, func(data, _ []byte) {
		if left := same[string(data)]; len(left) > 0 {
			out, same[string(data)] = append(out, left[0]...), left[1:]
			return
		}
		t.Errorf("only one of the files has the packet %x", data)
	})
	if len(out) != len(raw) {
		t.Errorf("%d octets of %d are in both files", len(out), len(raw))
	}
	return out
}

// TestTagsAreBack sends tagged frames, whose tag the kernel takes off.
func TestTagsAreBack(t *testing.T) {
	l := newLink(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	socket := l.open(l.right, packetsocket.Config{Interface: "eth0", Filter: "vlan 42 and udp port 7000"})
	r := l.ring(ctx, socket)
	sent := [][]byte{tagged(42, 7000), tagged(43, 7000), tagged(42, 7001), tagged(42, 7000)}
	sent[3] = append(sent[3][:12:12], append([]byte{0x88, 0xa8, 0, 7}, sent[3][12:]...)...) // 42 is the inner one
	l.send(l.left, sent...)
	got := next(t, r, 1)
	if !bytes.Equal(got[0], sent[0]) {
		t.Errorf("sent %x\ngot  %x", sent[0], got[0])
	}
}

// next reads n packets, and no more than they may come.
func next(t *testing.T, r *Ring, n int) (out [][]byte) {
	t.Helper()
	var p capture.Packet
	for quiet := 0; quiet < 8; {
		switch err := r.Next(&p); {
		case errors.Is(err, traffic.ErrTick):
			quiet++
		case err != nil:
			t.Fatal(err)
		default:
			if p.Number != uint64(len(out)+1) || time.Since(time.Unix(0, p.Time)).Abs() > time.Minute {
				t.Errorf("packet %d at %s", p.Number, time.Unix(0, p.Time))
			}
			out = append(out, bytes.Clone(p.Data))
		}
	}
	if len(out) != n {
		t.Fatalf("%d packets, want %d", len(out), n)
	}
	return out
}

func tagged(id, port uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0}
	b = binary.BigEndian.AppendUint16(b, id)
	return append(b, udp(port)[12:]...)
}

// udp is a frame from 10.77.0.1 to 10.77.0.2.
func udp(port uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2, 0x80, 0}
	b = binary.BigEndian.AppendUint16(b, port)
	return append(b, append([]byte{0, 26, 0, 0}, make([]byte, 18)...)...)
}

// TestTheNextReaderFindsWhatArrived closes a ring in the middle and opens it again: packets that came meanwhile are there.
func TestTheNextReaderFindsWhatArrived(t *testing.T) {
	l := newLink(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	socket := l.open(l.right, packetsocket.Config{Interface: "eth0", Filter: "udp port 7000", RingBytes: packetsocket.MinRing})
	first := l.ring(ctx, socket)
	for range 11 { // blocks of their own, more than there are
		l.send(l.left, udp(7000))
		next(t, first, 1)
		first.number = 0
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	l.send(l.left, udp(7000), udp(7000), udp(7000))
	second := l.ring(ctx, socket)
	next(t, second, 3)
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}

	l.send(l.left, udp(7000))
	time.Sleep(50 * time.Millisecond) // the kernel closes the block
	l.send(l.left, udp(7000), udp(7000))
	ring, wake := socket.Files()
	third, err := Open(ctx, duplicate(t, ring), duplicate(t, wake), socket.Geometry(), true)
	if err != nil || third.Skipped() != 1 {
		t.Fatalf("%d packets skipped, %v", third.Skipped(), err)
	}
	next(t, third, 2)
	cancel()
	if err := third.Next(&capture.Packet{}); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
	counts, err := socket.Counts()
	if err != nil || counts.Packets != 17 || counts.Dropped != 0 {
		t.Errorf("%+v, %v", counts, err)
	}
}

// TestAFullRingIsCounted sends more than fits while nobody reads.
func TestAFullRingIsCounted(t *testing.T) {
	l := newLink(t)
	socket := l.open(l.right, packetsocket.Config{Interface: "eth0", Filter: "udp port 7000", RingBytes: packetsocket.MinRing})
	big := append(udp(7000), make([]byte, 1400)...)
	const sent = 4000
	frames := make([][]byte, sent)
	for i := range frames {
		frames[i] = big
	}
	l.send(l.left, frames...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := l.ring(ctx, socket)
	read := uint64(0)
	var p capture.Packet
	for quiet := 0; quiet < 5; {
		if err := r.Next(&p); errors.Is(err, traffic.ErrTick) {
			quiet++
		} else if err != nil {
			t.Fatal(err)
		} else {
			read++
		}
	}
	counts, err := socket.Counts()
	if err != nil || counts.Packets != sent || counts.Dropped == 0 || counts.Packets-counts.Dropped != read || counts.Frozen == 0 {
		t.Errorf("%+v, %v; %d packets read of %d", counts, err, read, sent)
	}
	l.send(l.left, big)
	if r.number = 0; len(next(t, r, 1)) != 1 {
		t.Error("nothing comes after a full ring")
	}
}

// TestNothingToSendWith looks for the socket after a ring was opened.
func TestNothingToSendWith(t *testing.T) {
	l := newLink(t)
	socket := l.open(l.right, packetsocket.Config{Interface: "eth0"})
	ring, wake := socket.Files()
	mine := duplicate(t, ring)
	r, err := Open(t.Context(), mine, duplicate(t, wake), socket.Geometry(), false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := mine.Write(udp(1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the ring's socket: %v", err)
	}
	if _, err := wake.Write(udp(1)); err == nil {
		t.Error("what wakes a worker sends")
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	l := newLink(t)
	for says, cfg := range map[string]packetsocket.Config{
		"name an interface": {}, "no such interface": {Interface: "eth7"}, "at most": {Interface: "eth0", SnapLen: 1 << 30},
		"are possible": {Interface: "eth0", RingBytes: 1}, "not looked up": {Interface: "eth0", Filter: "host example.org"},
	} {
		l.in(l.right, func() error {
			s, err := packetsocket.Open(cfg)
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), says) {
				return fmt.Errorf("%+v: %w, want %q", cfg, err, says)
			}
			return nil
		})
	}
}
