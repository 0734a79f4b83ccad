package flow

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

const sec = time.Second

func TestHandshakeAndGoodbye(t *testing.T) {
	flows := play(t, Config{},
		packet{0, false, syn, 100, 0},
		packet{30 * time.Millisecond, true, syn | ack, 900, 0},
		packet{40 * time.Millisecond, false, ack, 101, 0},
		packet{50 * time.Millisecond, false, psh | ack, 101, 10},
		packet{60 * time.Millisecond, true, psh | ack, 901, 1000},
		packet{1 * sec, false, fin | ack, 111, 0},
		packet{1100 * time.Millisecond, true, fin | ack, 1901, 0},
		packet{1200 * time.Millisecond, false, ack, 112, 0},
	)
	if len(flows) != 1 {
		t.Fatalf("%d flows", len(flows))
	}
	f := flows[0]
	want := sdk.Flow{
		ID: 1, CommunityID: f.CommunityID, Start: time.Unix(0, 0).UTC(), End: time.Unix(1, 200e6).UTC(),
		Src: client.Addr(), Dst: server.Addr(), SrcPort: 40000, DstPort: 80, Proto: 6, EndReason: sdk.EndFIN,
		FwdPackets: 5, RevPackets: 3, FwdBytes: 210, RevBytes: 1120, FwdPayload: 10, RevPayload: 1000,
		FwdFlags: syn | ack | psh | fin, RevFlags: syn | ack | psh | fin, FwdFirstFlags: syn,
		Packets:   []uint64{1, 2, 3, 4, 5, 6, 7, 8},
		FwdLenMin: 40, FwdLenMax: 50, FwdLenMean: 42, FwdLenStd: 4,
		RevLenMin: f.RevLenMin, RevLenMax: f.RevLenMax, RevLenMean: f.RevLenMean, RevLenStd: f.RevLenStd,
		IATMin: 0.01, IATMax: 0.94, IATMean: f.IATMean, IATStd: f.IATStd,
		FwdIATMin: 0.01, FwdIATMax: 0.95, FwdIATMean: 0.3, FwdIATStd: f.FwdIATStd,
		RevIATMin: 0.03, RevIATMax: 1.04, RevIATMean: 0.535, RevIATStd: 0.505,
		SynCount: 2, FinCount: 2, PshCount: 2, AckCount: 7, HandshakeRTT: 0.03,
	}
	if diff := cmp.Diff(want, f, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestEndReasons(t *testing.T) {
	open := []packet{{0, false, syn, 100, 0}, {1, true, syn | ack, 900, 0}, {2, false, ack, 101, 0}}
	then := func(more ...packet) []packet { return append(slices.Clone(open), more...) }
	again := packet{20 * sec, false, syn, 5000, 0}
	tests := []struct {
		name    string
		packets []packet
		want    []string
	}{
		{"still open", open, []string{"end"}},
		{"reset", then(packet{3, true, rst, 0, 0}), []string{"rst"}},
		{"one side closed", then(packet{3, false, fin | ack, 101, 0}), []string{"end"}},
		{"both closed", then(packet{3, false, fin | ack, 101, 0}, packet{4, true, fin | ack, 901, 0}), []string{"fin"}},
		{"reset after the goodbye", then(packet{3, false, fin | ack, 101, 0}, packet{4, true, fin | ack, 901, 0}, packet{5, false, rst, 0, 0}), []string{"fin"}},
		{"silence", then(packet{121 * sec, false, ack, 101, 0}), []string{"idle", "end"}},
		{"silence up to the limit", then(packet{2 + 120*sec, false, ack, 101, 0}), []string{"end"}},
		{"late acknowledgement belongs to the closed flow", then(packet{3, true, rst, 0, 0}, packet{4 * sec, false, ack, 101, 0}), []string{"rst"}},
		{"new connection after a reset", then(packet{3, true, rst, 0, 0}, again), []string{"rst", "end"}},
		{"new connection right after the goodbye", then(packet{3, false, fin | ack, 101, 0}, packet{4, true, fin | ack, 901, 0}, packet{5, false, syn, 5000, 0}), []string{"fin", "end"}},
		{"new connection over a forgotten one", then(again), []string{"idle", "end"}},
		{"repeated SYN", []packet{{0, false, syn, 100, 0}, {1 * sec, false, syn, 100, 0}, {3 * sec, false, syn, 100, 0}}, []string{"end"}},
		{"refused and tried again with the same number", []packet{{0, false, syn, 100, 0}, {1, true, rst | ack, 0, 0}, {1 * sec, false, syn, 100, 0}, {1*sec + 1, true, rst | ack, 0, 0}}, []string{"rst"}},
	}
	for _, test := range tests {
		if got := reasons(play(t, Config{}, test.packets...)); !slices.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestActiveTimeoutCutsLongFlows(t *testing.T) {
	var packets []packet
	for at := time.Duration(0); at < 65*time.Minute; at += time.Minute {
		packets = append(packets, packet{at, at%2 == 1, ack | psh, 1, 5})
	}
	flows := play(t, Config{}, packets...)
	if got := reasons(flows); !slices.Equal(got, []string{"active", "active", "end"}) {
		t.Errorf("%v", got)
	}
	var n uint64
	for _, f := range flows {
		n += f.FwdPackets + f.RevPackets
	}
	if n != uint64(len(packets)) {
		t.Errorf("%d packets in flows, %d went in", n, len(packets))
	}
}

func TestInitiator(t *testing.T) {
	low, high := netip.MustParseAddrPort("10.0.0.1:80"), netip.MustParseAddrPort("10.0.0.2:50000")
	multicast := netip.MustParseAddrPort("239.255.255.250:40000")
	tests := []struct {
		name     string
		proto    uint8
		from, to netip.AddrPort
		flags    uint8
		sender   bool // is the initiator
		guessed  bool
	}{
		{"SYN", 6, low, high, syn, true, false},
		{"SYN-ACK answers", 6, low, high, syn | ack, false, false},
		{"data to a server", 6, high, low, ack | psh, true, true},
		{"data from a server", 6, low, high, ack | psh, false, true},
		{"reset answers", 6, high, low, rst, false, true},
		{"FIN alone is a probe, even from a low port", 6, low, high, fin, true, false},
		{"NULL probe", 6, low, high, 0, true, false},
		{"UDP to a server", 17, high, low, 0, true, false},
		{"UDP from a server", 17, low, high, 0, false, true},
		{"UDP between two high ports", 17, high, netip.MustParseAddrPort("10.0.0.1:50001"), 0, true, true},
		{"UDP from a server port to a group", 17, low, multicast, 0, true, false},
		{"ICMP echo", 1, netip.AddrPortFrom(low.Addr(), 8), netip.AddrPortFrom(high.Addr(), 0), 0, true, false},
		{"ICMP echo reply", 1, netip.AddrPortFrom(low.Addr(), 0), netip.AddrPortFrom(high.Addr(), 0), 0, false, false},
		{"ICMP error", 1, netip.AddrPortFrom(low.Addr(), 3), netip.AddrPortFrom(high.Addr(), 3), 0, true, false},
	}
	for _, test := range tests {
		var c collected
		table := New(Config{}, c.emit)
		d := decoded(test.proto, test.from, test.to)
		d.Flags = test.flags
		add(t, table, 1, 0, &d)
		closed(t, table)
		f := c.flows[0]
		if (f.Src == test.from.Addr()) != test.sender || f.InitiatorGuessed != test.guessed {
			t.Errorf("%s: initiator %s, guessed %v", test.name, f.Src, f.InitiatorGuessed)
		}
		if (f.FwdPackets == 1) != test.sender {
			t.Errorf("%s: %d packets forward, %d back", test.name, f.FwdPackets, f.RevPackets)
		}
	}
}

// A handshake that was captured out of order turns the flow round, with everything that was counted.
func TestLateSYNCorrectsTheGuess(t *testing.T) {
	client, server = server, client // now the low port is the client's
	defer func() { client, server = server, client }()
	flows := play(t, Config{},
		packet{1, false, ack, 101, 0},
		packet{2, true, psh | ack, 901, 50},
		packet{3, false, syn, 100, 0},
	)
	f := flows[0]
	if len(flows) != 1 || f.Src != client.Addr() || f.InitiatorGuessed || f.FwdPackets != 2 || f.RevPayload != 50 || f.FwdFirstFlags != ack {
		t.Errorf("%+v", flows)
	}
}

func TestICMPTypeAndCode(t *testing.T) {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	var c collected
	table := New(Config{}, c.emit)
	for i, p := range []decode.Packet{
		decoded(1, netip.AddrPortFrom(b, 8), netip.AddrPortFrom(a, 0)),
		decoded(1, netip.AddrPortFrom(a, 0), netip.AddrPortFrom(b, 0)),
		decoded(1, netip.AddrPortFrom(a, 3), netip.AddrPortFrom(b, 3)),
		decoded(1, netip.AddrPortFrom(b, 3), netip.AddrPortFrom(a, 3)), // the same error the other way is another flow
	} {
		add(t, table, uint64(i+1), 0, &p)
	}
	closed(t, table)
	if len(c.flows) != 3 {
		t.Fatalf("%d flows", len(c.flows))
	}
	echo, there, back := c.flows[0], c.flows[1], c.flows[2]
	if echo.Src != b || echo.SrcPort != 8 || echo.DstPort != 0 || echo.FwdPackets != 1 || echo.RevPackets != 1 {
		t.Errorf("echo: %+v", echo)
	}
	if there.Src != a || there.SrcPort != 3 || there.DstPort != 3 || back.Src != b || back.RevPackets != 0 {
		t.Errorf("errors: %+v %+v", there, back)
	}
}

func TestVLANsAreApart(t *testing.T) {
	var c collected
	table := New(Config{}, c.emit)
	for vlan := range uint16(3) {
		d := packet{}.tcp()
		d.VLAN = vlan
		add(t, table, 1, 0, &d)
	}
	closed(t, table)
	if len(c.flows) != 3 || c.flows[2].VLAN != 2 {
		t.Errorf("%d flows", len(c.flows))
	}
}

// The same addresses in two VXLANs are two flows with one Community ID.
func TestTunnelsAreApart(t *testing.T) {
	var c collected
	table := New(Config{}, c.emit)
	for _, tunnel := range []uint64{0, 5<<32 | 100, 5<<32 | 200, 5<<32 | 100} {
		d := packet{}.tcp()
		d.Tunnel = tunnel
		add(t, table, 1, 0, &d)
	}
	closed(t, table)
	if len(c.flows) != 3 || c.flows[1].FwdPackets != 2 || c.flows[0].CommunityID != c.flows[1].CommunityID || c.flows[1].CommunityID != c.flows[2].CommunityID {
		t.Errorf("%+v", c.flows)
	}
}

func TestMemoryCap(t *testing.T) {
	var c collected
	table := New(Config{MaxFlows: 10}, c.emit)
	for i := range 100 {
		d := decoded(17, netip.AddrPortFrom(client.Addr(), uint16(1000+i)), server)
		if err := table.Add(uint64(i+1), int64(i), &d); err != nil {
			t.Fatal(err)
		}
		if table.Open() > 10 {
			t.Fatalf("%d flows open", table.Open())
		}
	}
	closed(t, table)
	if n := table.Counts().Evicted(); n != 90 || len(c.flows) != 100 {
		t.Errorf("%d evicted of %d flows", n, len(c.flows))
	}
	if c.flows[0].EndReason != sdk.EndEvicted || c.flows[0].ID != 1 || c.flows[99].EndReason != sdk.EndCapture {
		t.Errorf("the quietest flow goes first: %s %d", c.flows[0].EndReason, c.flows[0].ID)
	}
}

// An ended flow costs nothing to lose, so it goes before one that is open.
func TestEvictionPrefersEndedFlows(t *testing.T) {
	var c collected
	table := New(Config{MaxFlows: 2}, c.emit)
	quiet := decoded(17, netip.MustParseAddrPort("10.0.0.1:1"), server)
	add(t, table, 1, 0, &quiet)
	reset := packet{flags: rst}.tcp()
	add(t, table, 2, 1, &reset)
	more := decoded(17, netip.MustParseAddrPort("10.0.0.1:2"), server)
	add(t, table, 3, 2, &more)
	closed(t, table)
	if c.flows[0].EndReason != sdk.EndRST || table.Counts().Evicted() != 0 {
		t.Errorf("%v", reasons(c.flows))
	}
}

// One mad timestamp, or a second capture appended to the first, must neither close everything nor keep it for ever.
func TestClockGoingBack(t *testing.T) {
	var c collected
	table := New(Config{}, c.emit)
	add := func(port uint16, at time.Duration) {
		d := decoded(17, netip.AddrPortFrom(client.Addr(), port), server)
		add(t, table, 1, int64(at), &d)
	}
	add(1, 1000*time.Hour) // mad
	add(2, 0)
	add(3, sec)
	if table.Open() != 2 {
		t.Errorf("%d flows open, want the two of the new timeline", table.Open())
	}
	add(4, 10*time.Minute)
	if table.Open() != 1 {
		t.Errorf("%d flows open after ten minutes", table.Open())
	}
}

func TestEmitErrorStops(t *testing.T) {
	full := errors.New("disk full")
	table := New(Config{Batch: 1}, func([]sdk.Flow) error { return full })
	d := packet{flags: rst}.tcp()
	add(t, table, 1, 0, &d)
	other := decoded(17, client, server)
	if err := table.Add(2, int64(time.Hour), &other); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}

// The flows do not depend on how many of them travel together.
func TestBatchSizeDoesNotMatter(t *testing.T) {
	run := func(batch int) []sdk.Flow {
		var c collected
		table := New(Config{Batch: batch, MaxFlows: 50}, c.emit)
		r := rand.New(rand.NewPCG(1, 2))
		for i := range 5000 {
			d := packet{back: r.IntN(2) == 0, flags: uint8(r.IntN(64)), seq: r.Uint32N(4), bytes: r.Uint32N(1400)}.tcp()
			d.SrcPort += uint16(r.IntN(80))
			add(t, table, uint64(i+1), int64(i)*int64(50*time.Millisecond), &d)
		}
		closed(t, table)
		return c.flows
	}
	want := run(1)
	for _, batch := range []int{2, 7, 1024} {
		if diff := cmp.Diff(want, run(batch), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("batches of %d:\n%s", batch, diff)
		}
	}
}
