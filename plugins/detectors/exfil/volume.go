package exfil

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// way is how something is sent.
type way uint8

const (
	open    way = iota // protocols of files that everybody on the way can read: FTP, HTTP, SMB
	shell              // SSH
	unknown            // over TCP
	covered            // what is ordinary for uploads by people: TLS, QUIC, UDP
	ways
	other // says nothing about amounts
)

const (
	least       = 1 << 10  // payload of a flow that is looked at
	noticed     = 64 << 10 // of one that becomes evidence, or is one to a peer
	lopsided    = 4        // times as much must go out as comes in
	unusual     = 3        // times as much as in the fullest window before
	manyPeers   = 8        // a host that sends to so many by unknown means shares files with them
	unknownness = 4        // times the volume that is needed
	coverage    = 20
)

type pairKey struct{ src, dst bare.Addr }

// pair is what a host sends to an address outside.
type pair struct {
	key   pairKey
	begin int64 // of the window
	sent  [ways]uint64
	got   uint64
	usual uint64 // the most that was sent in a window before
	flows uint64
	most  uint64 // that a flow sent
	proto uint8  // of that one
	files bool   // they were stored by FTP
	store string // name of the storage
	told  told
	open  []opened // flows that go on
	evidence.Evidence
}

// opened is what was counted of a flow that goes on.
type opened struct {
	flow      uint64
	start     int64
	sent, got uint64
}

// maxOpened is how many flows of a pair are counted before they are over; staleAfter is longer than a flow goes on without being closed.
const (
	maxOpened  = 16
	staleAfter = int64(time.Hour)
)

// counted returns what was counted of a flow before, and notes what is counted now if it goes on. known is whether it could.
func (p *pair) counted(f *sdk.Flow, sent, got uint64, goesOn bool) (before opened, known bool) {
	start := f.Start.UnixNano()
	i := slices.IndexFunc(p.open, func(o opened) bool { return o.flow == f.ID && o.start == start })
	if i >= 0 {
		before = p.open[i]
		p.open = slices.Delete(p.open, i, i+1)
	}
	if !goesOn {
		return before, true
	}
	p.open = slices.DeleteFunc(p.open, func(o opened) bool { return f.End.UnixNano()-o.start > staleAfter })
	if len(p.open) == maxOpened {
		return before, false
	}
	p.open = append(p.open, opened{f.ID, start, sent, got})
	return before, true
}

type told struct {
	sent uint64
	way  way // by which most was sent when it was told first
}

// peers counts those to whom a host sends by unknown means.
type peers struct {
	begin  int64
	count  uint64 // in units of the sketch
	sketch sketch.Sketch
}

// wayOf says how a flow sends. What is asked of names and clocks is the matter of others, and peers who share files do that.
func wayOf(f *sdk.Flow) way {
	switch f.App {
	case "ssh":
		return shell
	case "ftp", "http", "http2", "smb":
		return open
	case "tls", "quic", "imap", "pop3", "smtp":
		return covered
	case "dns", "ntp", "bittorrent":
		return other
	}
	if f.Proto == sdk.ProtoTCP {
		if f.App == "" && (f.DstPort == 443 || f.SrcPort == 443) {
			return covered // its beginning was not seen
		}
		return unknown
	}
	if f.Proto == sdk.ProtoUDP {
		return covered
	}
	return other
}

// flow adds a flow that is over to what its host has sent.
func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error { return d.add(f, false, sink) }

// goesOn adds what a flow has carried so far, so that a copy is told before it is over.
func (d *Detector) goesOn(m *sdk.Message, sink sdk.FindingSink) error {
	sent, err := strconv.ParseUint(m.Fields["sent"], 10, 64)
	got, err2 := strconv.ParseUint(m.Fields["received"], 10, 64)
	start, err3 := strconv.ParseInt(m.Fields["start"], 10, 64)
	if err != nil || err2 != nil || err3 != nil {
		return nil // the traffic engine writes no such thing
	}
	f := sdk.Flow{
		ID: m.Flow, Start: time.Unix(0, start).UTC(), End: m.Time, Src: m.Client, Dst: m.Server, SrcPort: m.ClientPort, DstPort: m.ServerPort, VLAN: m.VLAN, Proto: m.Proto,
		App: m.Text, InitiatorGuessed: m.Fields["guessed"] != "", FwdPayload: sent, RevPayload: got, Packets: []uint64{m.Packet},
	}
	return d.add(&f, true, sink)
}

// add adds a flow, or more of one that goes on, to what its host has sent.
func (d *Detector) add(f *sdk.Flow, goesOn bool, sink sdk.FindingSink) error {
	if f.FwdPayload < least && f.RevPayload < least {
		return nil
	}
	src, dst, sent, got := f.Src, f.Dst, f.FwdPayload, f.RevPayload
	// A server that sends a file by FTP opens the connection, and who began may be guessed wrongly.
	if f.SrcPort == 20 || f.InitiatorGuessed && f.SrcPort < f.DstPort {
		src, dst, sent, got = dst, src, got, sent
	}
	w := wayOf(f)
	if w == other || !d.leaves(src, dst) {
		return nil
	}
	at := f.End.UnixNano()
	key := pairKey{bare.Of(src), bare.Of(dst)}
	p, err := d.pair(key, at, sink)
	if err != nil {
		return err
	}
	before, known := p.counted(f, sent, got, goesOn)
	if !known && goesOn {
		return nil // too many go on: it counts when it is over
	}
	fresh := before == opened{}
	if sent > p.most {
		p.most, p.proto = sent, f.Proto
	}
	p.sent[w] += sent - min(sent, before.sent)
	p.got += got - min(got, before.got)
	if !fresh {
		p.Add(at, 0, flowref.Ref{})
		return d.judge(p, false, sink)
	}
	p.flows++
	if w == unknown && sent >= noticed {
		d.inside(key.src).peers.add(&key.dst, at, int64(d.cfg.Window))
	}
	if (sent >= noticed || p.End() == 0) && len(f.Packets) > 0 {
		p.Add(f.Start.UnixNano(), f.Packets[0], flowref.Of(f))
	}
	p.Add(at, 0, flowref.Ref{})
	return d.judge(p, false, sink)
}

// pair is the memory of a host and an address, in a window that goes on.
func (d *Detector) pair(key pairKey, at int64, sink sdk.FindingSink) (*pair, error) {
	p, known := d.pairs.Get(key)
	if !known {
		if old, full := d.pairs.Crowded(); full {
			if err := d.judge(old, true, sink); err != nil {
				return nil, err
			}
			d.pairs.Forget(old.key)
		}
		p = &pair{key: key, begin: at}
		d.pairs.Put(key, p)
		return p, nil
	}
	if at-p.begin <= int64(d.cfg.Window) {
		return p, nil
	}
	if err := d.judge(p, true, sink); err != nil {
		return nil, err
	}
	*p = pair{key: key, begin: at, usual: max(p.usual, p.all()), files: p.files, store: p.store, open: p.open}
	return p, nil
}

func (p *peers) add(dst *bare.Addr, at, window int64) {
	if at-p.begin > window {
		*p = peers{begin: at}
	}
	h := uint32(2166136261)
	for _, b := range dst {
		h = (h ^ uint32(b)) * 16777619
	}
	p.count += p.sketch.Add(h)
}

// handshake remembers that a host speaks to a storage of files.
func (d *Detector) handshake(t *sdk.TLS, sink sdk.FindingSink) error {
	name := d.stores(t.ServerName)
	if name == "" || !d.leaves(t.Client, t.Server) {
		return nil
	}
	p, err := d.pair(pairKey{bare.Of(t.Client), bare.Of(t.Server)}, t.Time.UnixNano(), sink)
	if err == nil && p.store == "" {
		p.store = clipped(t.ServerName)
	}
	return err
}

// stores is the domain of a storage that a name belongs to, "" for none.
func (d *Detector) stores(name string) string {
	for name != "" {
		if d.storage[name] {
			return name
		}
		_, name, _ = strings.Cut(name, ".")
	}
	return ""
}

func (p *pair) all() (n uint64) {
	for _, sent := range p.sent {
		n += sent
	}
	return n
}

// by is the way by which most was sent.
func (p *pair) by() (best way) {
	for w := range ways {
		if p.sent[w] > p.sent[best] {
			best = w
		}
	}
	return best
}

// excess is how many times a host sent the volume, each way weighed by how unusual it is.
func (d *Detector) excess(p *pair) float64 {
	all, volume := p.all(), float64(d.cfg.Volume)*(1<<20)
	if all < lopsided*p.got || all < unusual*p.usual {
		return 0
	}
	sum := float64(p.sent[open]+p.sent[shell]) / volume
	switch {
	case p.files:
		sum += float64(p.sent[unknown]) / volume
	case d.inside(p.key.src).peers.count < manyPeers*sketch.Unit:
		sum += float64(p.sent[unknown]) / volume / unknownness
	}
	weight := float64(coverage)
	if p.store != "" {
		weight /= 5
	}
	return sum + float64(p.sent[covered])/volume/weight
}

// judge reports a pair when it has sent too much, each time that has doubled, and at the end.
func (d *Detector) judge(p *pair, final bool, sink sdk.FindingSink) error {
	all := p.all()
	if all < uint64(d.cfg.Volume)<<20 || all <= p.told.sent || p.told.sent > 0 && !final && all < 2*p.told.sent {
		return nil
	}
	excess := d.excess(p)
	if excess < 1 && p.told.sent == 0 {
		return nil
	}
	if p.told.sent == 0 {
		p.told.way = p.by()
	}
	p.told.sent = all
	return sink.Finding(p.finding(max(1, excess)))
}

func round(v float64, digits int) float64 {
	unit := math.Pow10(digits)
	return math.Round(v*unit) / unit
}

// lasted is how long sending went on.
func lasted(from, to time.Time) time.Duration {
	if d := to.Sub(from); d < time.Minute {
		return d.Round(100 * time.Millisecond)
	}
	return to.Sub(from).Round(time.Second)
}
