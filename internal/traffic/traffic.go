// Package traffic turns captures into flows: it joins the capture reader, the decoder and the flow table.
//
// In goes a capture as a stream, out come batches of sdk.Flow for the detectors and a Summary in which every packet is
// accounted for. Memory is bounded by the longest packet, by Options.Flow.MaxFlows, and by what the reader's notes and the
// fragments may hold (4 and 8 MiB), whatever the length of the input.
// The package is linked by picket-traffic and picket, never by picketd: the process that holds keys and data parses no
// packet.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/decode/fragments"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

// Options of an analysis; the zero value is fine.
type Options struct {
	Flow flow.Config
	// Progress, when set, is called every ProgressEvery packets (default 10000).
	Progress      func(Progress)
	ProgressEvery uint64
	// Taps are given the packets that they ask for, before the flows that these belong to are emitted.
	Taps []*Tap
	// Follower, when set, hears of every packet.
	Follower Follower
}

// Follower hears of every packet, and then which flow it belongs to, if any, and that it is the nth packet of it. A fragment's flow may be told several packets
// later, or that none was found. An error ends the analysis.
type Follower interface {
	Packet(p *capture.Packet, d *decode.Packet) error
	Member(number, flow, nth uint64, d app.Dir) error
	Lost(number uint64)
}

// Progress says how far an analysis came.
type Progress struct {
	Packets uint64
	Bytes   uint64 // on the wire
	Flows   uint64
}

// Summary accounts for every packet that was read: Packets is the sum over Outcomes.
type Summary struct {
	Packets   uint64
	Bytes     uint64 // on the wire
	Flows     uint64
	Evicted   uint64 // flows closed early to stay within the memory cap
	Outcomes  [decode.Outcomes]uint64
	Short     uint64 // packets, fragments aside, whose transport header was cut off; they are part of a flow all the same
	Fragments fragments.Counts
	Notes     capture.Notes // what the capture says besides its packets
	First     time.Time
	Last      time.Time
	LinkTypes []capture.LinkType // in order of appearance
	Layers    Layers
	// Of the engine in Options.Flow.Apps, when there is one: flows with a payload by application protocol, what became of their
	// bytes, and the parsers that broke.
	Apps    []app.Named
	Parsing app.Counts
	Panics  []app.Panic
}

// Layers counts packets by what they hold. One packet may hold several.
type Layers struct {
	ARP, IPv4, IPv6, TCP, UDP, ICMP, Other uint64 // Other are those of further transports
	VLAN, Tunnel                           uint64 // tagged, carried in a tunnel
}

func (l *Layers) count(d *decode.Packet) {
	switch {
	case d.ARP:
		l.ARP++
	case d.Version == 4:
		l.IPv4++
		l.transport(d)
	case d.Version == 6:
		l.IPv6++
		l.transport(d)
	}
	if d.VLAN != 0 {
		l.VLAN++
	}
	if d.Tunnel != 0 {
		l.Tunnel++
	}
}

func (l *Layers) transport(d *decode.Packet) {
	switch d.Proto {
	case sdk.ProtoTCP:
		l.TCP++
	case sdk.ProtoUDP:
		l.UDP++
	case sdk.ProtoICMP, sdk.ProtoICMPv6:
		l.ICMP++
	default:
		l.Other++
	}
}

// Undecoded is how many packets carried no readable IP header although they should have.
func (s *Summary) Undecoded() uint64 {
	return s.Outcomes[decode.Malformed] + s.Outcomes[decode.Unsupported]
}

// PanicError is a bug that a packet set off. The analysis stops there.
type PanicError struct {
	Packet uint64
	Value  any
}

func (e *PanicError) Error() string {
	return fmt.Sprintf("packet %d: internal error: %v", e.Packet, e.Value)
}

// Analyze reads a capture to its end and gives the flows to emit, whose slice is only valid during the call. With a
// damaged capture (*capture.DamagedError) everything up to the damage has been emitted and counted.
func Analyze(ctx context.Context, r io.Reader, opts Options, emit func([]sdk.Flow) error) (Summary, error) {
	reader, err := capture.Open(r)
	if err != nil {
		return Summary{}, err
	}
	return AnalyzeSource(ctx, reader, opts, emit)
}

// Source gives packets one by one. Next returns io.EOF at the end.
type Source interface {
	Next(p *capture.Packet) error
	Notes() capture.Notes
}

// ErrTick is what Next of a live source returns now and then, with p.Time set: no packet, but time goes on, and what is
// finished is wanted now.
var ErrTick = errors.New("no packet, but time goes on")

// AnalyzeSource is Analyze on packets from wherever they come.
func AnalyzeSource(ctx context.Context, source Source, opts Options, emit func([]sdk.Flow) error) (Summary, error) {
	a := analysis{ctx: ctx, opts: opts, reader: source}
	a.table = flow.New(opts.Flow, emit)
	a.single = link.New(opts.Flow.Apps)
	a.fragments = fragments.New(fragments.Config{Lost: a.lost()}, a.flow)
	if a.opts.ProgressEvery == 0 {
		a.opts.ProgressEvery = 10_000
	}
	err := a.read()
	if !a.emitFailed {
		if flushing := a.flushTaps(); flushing != nil {
			a.emitFailed, err = true, flushing
		}
	}
	// Whatever stopped the reading, what was seen until then is worth its flows, except when nobody takes them or a bug
	// left the table in a state that nobody knows.
	var bug *PanicError
	if a.emitFailed || ctx.Err() != nil || errors.As(err, &bug) {
		return a.finish(), err
	}
	if closing := a.close(); closing != nil {
		err = closing
	}
	return a.finish(), err
}

// close settles what is still open.
func (a *analysis) close() error {
	if err := a.fragments.Close(); err != nil {
		return err
	}
	return a.table.Close()
}

type analysis struct {
	ctx        context.Context
	opts       Options
	reader     Source
	table      *flow.Table
	fragments  *fragments.Table
	single     *link.Reader // nil when nobody asked for what it reads
	sum        Summary
	first      int64
	last       int64
	packet     capture.Packet
	decoded    decode.Packet
	emitFailed bool
}

// read runs until the end; a panic in it names its packet.
func (a *analysis) read() (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Packet: a.packet.Number, Value: v}
		}
	}()
	for {
		switch err := a.reader.Next(&a.packet); {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, ErrTick):
			if err := a.tick(); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if err := a.count(); err != nil {
			a.emitFailed = true
			return err
		}
		if a.sum.Packets%a.opts.ProgressEvery == 0 {
			if err := a.ctx.Err(); err != nil {
				return err
			}
			a.report()
		}
	}
}

// tick closes what was quiet for too long and hands out everything that is finished.
func (a *analysis) tick() error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	err := a.table.Advance(a.packet.Time)
	if err == nil {
		err = a.table.Flush()
	}
	if err == nil {
		err = a.flushTaps()
	}
	if err != nil {
		a.emitFailed = true
		return err
	}
	a.report()
	return nil
}

func (a *analysis) flushTaps() error {
	for _, t := range a.opts.Taps {
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}

// count decodes the packet and adds it to its flow.
func (a *analysis) count() error {
	p := &a.packet
	a.span(p.Time)
	a.sum.Packets++
	a.sum.Bytes += uint64(p.Length)
	if n := len(a.sum.LinkTypes); (n == 0 || a.sum.LinkTypes[n-1] != p.Link) && !slices.Contains(a.sum.LinkTypes, p.Link) {
		a.sum.LinkTypes = append(a.sum.LinkTypes, p.Link)
	}
	outcome := decode.Decode(&a.decoded, p.Link, p.Data, p.Length)
	a.sum.Layers.count(&a.decoded)
	if err := a.tap(); err != nil {
		return err
	}
	if a.opts.Follower != nil {
		if err := a.opts.Follower.Packet(p, &a.decoded); err != nil {
			return err
		}
	}
	switch {
	case a.decoded.Part.Is:
		return a.fragment()
	case outcome != decode.Flow:
		a.sum.Outcomes[outcome]++
		if a.single != nil && a.single.Wants(outcome, &a.decoded) {
			a.single.Frame(link.At{Number: p.Number, Time: p.Time}, p.Link, p.Data)
		}
		return nil
	case a.decoded.Short:
		a.sum.Short++
	}
	if err := a.flow(p.Number, p.Time, &a.decoded); err != nil || a.single == nil || !a.single.Wants(outcome, &a.decoded) {
		return err
	}
	id, d := a.table.Latest(&a.decoded)
	a.single.Packet(link.At{Number: p.Number, Time: p.Time, Flow: id, FromServer: d == app.Server}, p.Link, p.Data, &a.decoded)
	return nil
}

// flow counts a packet that belongs to a flow.
func (a *analysis) flow(number uint64, at int64, p *decode.Packet) error {
	a.sum.Outcomes[decode.Flow]++
	if err := a.table.Add(number, at, p); err != nil || a.opts.Follower == nil {
		return err
	}
	id, d := a.table.Latest(p)
	return a.opts.Follower.Member(number, id, a.table.LatestPackets(), d)
}

// lost is who hears of fragments without a flow.
func (a *analysis) lost() func(uint64) {
	if a.opts.Follower == nil {
		return nil
	}
	return a.opts.Follower.Lost
}

// fragment adds one packet to its datagram, which says which flow it belongs to, and shows the datagram once it is whole.
func (a *analysis) fragment() error {
	p := &a.packet
	whole, err := a.fragments.Add(p.Number, p.Time, &a.decoded, p.Data)
	if whole == nil || err != nil {
		return err
	}
	if decode.Datagram(&a.decoded, a.decoded.Part, whole) == decode.Flow {
		a.table.Show(p.Number, p.Time, &a.decoded)
	}
	return nil
}

func (a *analysis) tap() error {
	if len(a.opts.Taps) == 0 {
		return nil
	}
	held := heldLayers(&a.decoded)
	for _, t := range a.opts.Taps {
		if err := t.offer(&a.packet, held); err != nil {
			return err
		}
	}
	return nil
}

func (a *analysis) span(at int64) {
	if a.sum.Packets == 0 {
		a.first, a.last = at, at
		return
	}
	a.first, a.last = min(a.first, at), max(a.last, at)
}

func (a *analysis) report() {
	if a.opts.Progress != nil {
		a.opts.Progress(Progress{Packets: a.sum.Packets, Bytes: a.sum.Bytes, Flows: a.table.Counts().Flows + uint64(a.table.Open())})
	}
}

func (a *analysis) finish() Summary {
	counts := a.table.Counts()
	a.sum.Flows, a.sum.Evicted = counts.Flows, counts.Evicted()
	if a.opts.Flow.Apps != nil {
		apps := a.opts.Flow.Apps
		a.sum.Apps, a.sum.Parsing, a.sum.Panics = apps.Flows(), apps.Counts(), apps.Panics()
	}
	a.sum.Fragments = a.fragments.Counts()
	a.sum.Notes = a.reader.Notes()
	a.sum.Outcomes[decode.Fragment] = a.sum.Fragments.Lost + a.fragments.Waiting()
	if a.sum.Packets > 0 {
		a.sum.First, a.sum.Last = time.Unix(0, a.first).UTC(), time.Unix(0, a.last).UTC()
	}
	return a.sum
}
