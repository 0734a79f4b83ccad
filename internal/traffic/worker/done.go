package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
)

// Progress is the body of KindProgress.
type Progress struct {
	BytesRead int64  `json:"bytes_read"`
	Total     int64  `json:"total"` // 0 when not known
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"` // of the packets, on the wire
	Flows     uint64 `json:"flows"`
	Kept      int64  `json:"kept,omitempty"` // how far the packets that are kept go back, in nanoseconds
}

// Done is the body of KindDone. A damaged capture is done as far as it could be read.
type Done struct {
	Packets   uint64     `json:"packets"`
	Bytes     uint64     `json:"bytes"`
	Flows     uint64     `json:"flows"`
	Undecoded uint64     `json:"undecoded"`
	Evicted   uint64     `json:"evicted"`
	Truncated bool       `json:"truncated"`
	Damage    string     `json:"damage,omitempty"` // where and why reading stopped early
	First     *time.Time `json:"first,omitempty"`
	Last      *time.Time `json:"last,omitempty"`
	LinkTypes []int      `json:"linktypes"`
	// Services are the ports at which hosts answered.
	Services []flow.Service `json:"services"`
	Quality  Quality        `json:"quality"`
}

// Quality says how good the capture is, and what could be made of it.
type Quality struct {
	Outcomes map[string]uint64 `json:"outcomes"` // packets by what became of them; their sum is Done.Packets
	Layers   map[string]uint64 `json:"layers"`   // packets by what they hold; one may hold several
	Short    uint64            `json:"short,omitempty"`
	Dropped  uint64            `json:"dropped,omitempty"` // packets that the capturing machine says it lost

	FragmentsJoined  uint64 `json:"fragments_joined,omitempty"` // datagrams
	FragmentsGivenUp uint64 `json:"fragments_given_up,omitempty"`
	FragmentOverlaps uint64 `json:"fragment_overlaps,omitempty"`

	// Of the bytes of TCP connections that a parser read.
	StreamGaps      uint64 `json:"stream_gaps,omitempty"`
	StreamMissing   uint64 `json:"stream_missing,omitempty"`   // bytes
	StreamConflicts uint64 `json:"stream_conflicts,omitempty"` // bytes that were sent again, and differ

	Facts        uint64 `json:"facts"`
	FactsDropped uint64 `json:"facts_dropped,omitempty"`
	// ToldNoMore is, by kind, of how many flows only the first facts were told, which were enough for whoever asked.
	ToldNoMore map[string]uint64 `json:"told_no_more,omitempty"`

	GivenUp uint64 `json:"given_up,omitempty"` // flows that were not read to their end, for want of memory
	Panics  uint64 `json:"panics,omitempty"`   // flows that were not read to their end, because a parser broke

	Protocols []Protocol `json:"protocols"` // of flows with a payload, the most frequent first
	Names     []Name     `json:"names,omitempty"`
	Secrets   int        `json:"secrets,omitempty"` // keys in the capture that open encrypted connections
	Notes     []string   `json:"notes,omitempty"`
}

// Protocol is how many flows carried an application protocol; "" is an unknown one.
type Protocol struct {
	Name  string `json:"name"`
	Flows uint64 `json:"flows"`
}

// Name is what an address was called where the capture was made.
type Name struct {
	Addr string `json:"addr"`
	Name string `json:"name"`
}

// maxNames bounds the names that are told.
const maxNames = 1000

// Error is the body of KindError.
type Error struct {
	Message string `json:"message"`
	Packet  uint64 `json:"packet,omitempty"` // the one it happened at, 0 when not known
}

func errorOf(err error, sum traffic.Summary) Error {
	e := Error{Message: err.Error(), Packet: sum.Packets}
	var p *traffic.PanicError
	if errors.As(err, &p) {
		e.Packet = p.Packet
		e.Message = fmt.Sprintf("internal error: %v", p.Value)
	}
	return e
}

func doneOf(sum traffic.Summary, damaged *capture.DamagedError) Done {
	d := Done{
		Packets: sum.Packets, Bytes: sum.Bytes, Flows: sum.Flows, Undecoded: sum.Undecoded(), Evicted: sum.Evicted, LinkTypes: []int{},
		Quality: qualityOf(&sum),
	}
	if damaged != nil {
		d.Truncated, d.Damage = true, damaged.Error()
	}
	if sum.Packets > 0 {
		d.First, d.Last = &sum.First, &sum.Last
	}
	for _, link := range sum.LinkTypes {
		d.LinkTypes = append(d.LinkTypes, int(link))
	}
	return d
}

func qualityOf(sum *traffic.Summary) Quality {
	p := &sum.Parsing
	q := Quality{
		Outcomes: map[string]uint64{}, Layers: map[string]uint64{}, Short: sum.Short, Dropped: sum.Notes.Dropped,
		FragmentsJoined: sum.Fragments.Joined, FragmentsGivenUp: sum.Fragments.GivenUp, FragmentOverlaps: sum.Fragments.Overlaps,
		StreamGaps: p.Stream.Gaps, StreamMissing: p.Stream.Missing, StreamConflicts: p.Stream.Conflicts,
		Facts: p.Facts, FactsDropped: p.FactsDropped, GivenUp: p.GivenUp, Panics: p.Panics,
		Protocols: []Protocol{}, Secrets: len(sum.Notes.Secrets),
	}
	for outcome, n := range sum.Outcomes {
		count(q.Outcomes, decode.Outcome(outcome).String(), n)
	}
	l := &sum.Layers
	for name, n := range map[string]uint64{
		"arp": l.ARP, "ipv4": l.IPv4, "ipv6": l.IPv6, "tcp": l.TCP, "udp": l.UDP, "icmp": l.ICMP, "other": l.Other, "vlan": l.VLAN, "tunnel": l.Tunnel,
	} {
		count(q.Layers, name, n)
	}
	for _, a := range sum.Apps {
		q.Protocols = append(q.Protocols, Protocol(a))
	}
	for _, n := range sum.Notes.Names[:min(len(sum.Notes.Names), maxNames)] {
		q.Names = append(q.Names, Name{n.Addr.String(), n.Name})
	}
	for _, b := range sum.Panics {
		what := "recognition"
		if b.Protocol != "" {
			what = "the parser of " + b.Protocol
		}
		q.Notes = append(q.Notes, fmt.Sprintf("%s broke at packet %d (%s); flow %d was not read further", what, b.Packet, b.Value, b.Flow))
	}
	return q
}

func count(in map[string]uint64, name string, n uint64) {
	if n > 0 {
		in[name] = n
	}
}
