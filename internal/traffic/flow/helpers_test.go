package flow

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// packet is one step of a test conversation: a goes from client to server unless back is set.
type packet struct {
	at    time.Duration
	back  bool
	flags uint8
	seq   uint32
	bytes uint32 // payload
}

const (
	fin = sdk.FlagFIN
	syn = sdk.FlagSYN
	rst = sdk.FlagRST
	psh = sdk.FlagPSH
	ack = sdk.FlagACK
)

var (
	client = netip.MustParseAddrPort("10.0.0.9:40000")
	server = netip.MustParseAddrPort("10.0.0.2:80")
)

func decoded(proto uint8, from, to netip.AddrPort) decode.Packet {
	p := decode.Packet{Proto: proto, Version: 4, SrcPort: from.Port(), DstPort: to.Port(), Src: from.Addr().As16(), Dst: to.Addr().As16()}
	if from.Addr().Is6() {
		p.Version = 6
	}
	return p
}

func (p packet) tcp() decode.Packet {
	from, to := client, server
	if p.back {
		from, to = server, client
	}
	d := decoded(sdk.ProtoTCP, from, to)
	d.Flags, d.Seq, d.Payload, d.Length = p.flags, p.seq, p.bytes, p.bytes+40
	return d
}

// collected keeps copies of emitted flows.
type collected struct{ flows []sdk.Flow }

func (c *collected) emit(flows []sdk.Flow) error {
	for _, f := range flows {
		f.Packets = slices.Clone(f.Packets)
		c.flows = append(c.flows, f)
	}
	return nil
}

// play runs a conversation through a table of its own.
func play(tb testing.TB, cfg Config, packets ...packet) []sdk.Flow {
	tb.Helper()
	var c collected
	table := New(cfg, c.emit)
	for i, p := range packets {
		d := p.tcp()
		if err := table.Add(uint64(i+1), int64(p.at), &d); err != nil {
			tb.Fatal(err)
		}
	}
	if err := table.Close(); err != nil {
		tb.Fatal(err)
	}
	if table.Open() != 0 || table.Counts().Flows != uint64(len(c.flows)) {
		tb.Errorf("%d flows emitted, %d counted, %d still open", len(c.flows), table.Counts().Flows, table.Open())
	}
	return c.flows
}

func reasons(flows []sdk.Flow) (out []string) {
	for _, f := range flows {
		out = append(out, f.EndReason.String())
	}
	return out
}

func add(t *testing.T, table *Table, number uint64, at int64, p *decode.Packet) {
	t.Helper()
	if err := table.Add(number, at, p); err != nil {
		t.Fatal(err)
	}
}

func closed(t *testing.T, table *Table) {
	t.Helper()
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
}
