package portscan

import (
	"cmp"
	"container/list"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// maxRefs is how many failed contacts of a source keep their full flow reference for the evidence.
const maxRefs = 64

// seen is what is remembered of one target of a source.
//
// There are max_contacts of them, so they are packed: 40 bytes each, without a pointer.
type seen struct {
	target  target
	verdict verdict
	probe   probe
	small   bool
	ref     int8   // into refs, none without
	at      int64  // start of the first contact
	packet  uint64 // its first packet
}

// source is the memory of one source.
type source struct {
	addr        bare.Addr
	number      uint64 // order of appearance
	first, last int64  // of its contacts
	targets     []seen // in order of appearance
	index       index
	refs        []flowref.Ref
	failed      [classes]int32      // targets that failed
	failedAt    int64               // the detector's clock at the last new failure
	judged      int                 // failures at the last judgement
	judgedAt    int64               // the detector's clock then, or at the first contact
	reported    map[string]reported // by rule; nil before the first
	errors      map[bare.Addr]uint64
	place       *list.Element
}

// failures are the targets that failed.
func (s *source) failures() int {
	return int(s.failed[tcpClass] + s.failed[udpClass] + s.failed[pingClass])
}

// reported is what was last reported of a scan.
type reported struct {
	Size int    `json:"size"` // targets
	Dst  string `json:"dst"`
}

// report notes what is reported by a rule.
func (s *source) report(rule string, r reported) {
	if s.reported == nil {
		s.reported = map[string]reported{}
	}
	s.reported[rule] = r
}

// sources is the memory of all, within bounds.
type sources struct {
	byAddr                              map[bare.Addr]*source
	latest                              *source    // of which find was asked last
	quiet                               *list.List // of *source, the one touched longest ago in front
	maxSources, maxTargets, maxContacts int
	contacts                            int
	errorSenders                        int // of all sources
	next                                uint64
	forgotten                           uint64 // contacts that were dropped to stay within bounds
}

func newSources(maxSources, maxTargets, maxContacts int) sources {
	return sources{byAddr: map[bare.Addr]*source{}, quiet: list.New(), maxSources: maxSources, maxTargets: maxTargets, maxContacts: maxContacts}
}

// find returns the source of an address, nil when it is not known. Contacts of a source often come one behind the other.
func (m *sources) find(addr bare.Addr) *source {
	if m.latest == nil || m.latest.addr != addr {
		m.latest = m.byAddr[addr]
	}
	return m.latest
}

// crowded returns the source that must go before a contact of addr, whose source is s or not known, can be remembered, nil
// when there is room: the one that was touched longest ago, and the source of the contact itself only when it is the last.
func (m *sources) crowded(s *source) *source {
	if m.contacts < m.maxContacts && (s != nil || len(m.byAddr) < m.maxSources) {
		return nil
	}
	oldest := m.quiet.Front()
	if oldest.Value.(*source) == s && oldest.Next() != nil {
		oldest = oldest.Next()
	}
	return oldest.Value.(*source)
}

// add remembers a contact of a source; clock is the time in the traffic. There must be room.
func (m *sources) add(s *source, c *contact, f *sdk.Flow, clock int64) {
	m.quiet.MoveToBack(s.place)
	s.first, s.last = min(s.first, f.Start.UnixNano()), max(s.last, f.End.UnixNano())
	if c.verdict == failed {
		s.failedAt = clock
	}
	if i, known := s.find(&c.target); known {
		s.update(i, c)
		return
	}
	if len(s.targets) >= m.maxTargets {
		m.forgotten++
		return
	}
	m.contacts++
	s.insert(c, f)
}

// appear makes the memory of a source that is not known.
func (m *sources) appear(addr bare.Addr, f *sdk.Flow, clock int64) *source {
	m.next++
	s := &source{addr: addr, number: m.next, first: f.Start.UnixNano(), judgedAt: clock}
	m.insert(s)
	return s
}

func (m *sources) insert(s *source) {
	m.byAddr[s.addr] = s
	s.place = m.quiet.PushBack(s)
}

func (s *source) insert(c *contact, f *sdk.Flow) {
	t := seen{target: c.target, verdict: c.verdict, probe: c.probe, small: c.small, at: f.Start.UnixNano(), ref: none}
	if len(f.Packets) > 0 {
		t.packet = f.Packets[0]
	}
	if c.verdict == failed {
		s.failed[classOf(c.target.proto)]++
	}
	if c.verdict != used && len(s.refs) < maxRefs {
		t.ref = int8(len(s.refs))
		s.refs = append(s.refs, flowref.Of(f))
	}
	s.append(t)
}

func (s *source) update(i int, c *contact) {
	t := &s.targets[i]
	if c.verdict <= t.verdict {
		return
	}
	if t.verdict == failed {
		s.failed[classOf(c.target.proto)]--
	}
	t.verdict = c.verdict
}

// How many hosts that refused datagrams are remembered for one source, and for all: whoever forges refusals fills no memory.
// Those beyond are missing in a feature of a finding and nowhere else.
const (
	maxErrorSenders    = 256
	maxAllErrorSenders = 4096
)

// refused counts datagrams of a source that a host did not take.
func (m *sources) refused(to, from netip.Addr, n uint64) {
	s := m.byAddr[bare.Of(to)]
	if s == nil {
		return
	}
	by := bare.Of(from)
	if _, known := s.errors[by]; !known {
		if len(s.errors) >= maxErrorSenders || m.errorSenders >= maxAllErrorSenders {
			return
		}
		m.errorSenders++
	}
	if s.errors == nil {
		s.errors = map[bare.Addr]uint64{}
	}
	s.errors[by] += n
}

// forget drops a source to stay within bounds.
func (m *sources) forget(s *source) {
	m.forgotten += uint64(len(s.targets))
	m.remove(s)
}

func (m *sources) remove(s *source) {
	m.contacts -= len(s.targets)
	m.errorSenders -= len(s.errors)
	m.latest = nil
	m.quiet.Remove(s.place)
	delete(m.byAddr, s.addr)
}

// ordered lists the sources that are wanted by appearance, so that findings come in the same order each time.
func (m *sources) ordered(wanted func(*source) bool) []*source {
	var out []*source
	for _, s := range m.byAddr {
		if wanted(s) {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *source) int { return cmp.Compare(a.number, b.number) })
	return out
}
