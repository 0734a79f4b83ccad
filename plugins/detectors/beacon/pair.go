package beacon

import (
	"cmp"
	"container/list"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/sdk"
)

// service is what is called, and caller and service are what a beacon has in common.
type service struct {
	dst   bare.Addr
	port  uint16
	proto uint8
}

type pairKey struct {
	src bare.Addr
	service
}

// call is one connection of a pair. There are max_memory of them: each has 64 bytes, and the collector need not look into
// them.
type call struct {
	start, end int64
	sent       uint64 // payload of the caller
	packet     uint64
	ref        flowref.Ref
}

// pair is the memory of one caller and service.
type pair struct {
	key      pairKey
	number   uint64 // order of appearance
	calls    []call // in the order in which they ended
	reported int    // calls of the beacon when it was last reported
	steady   bool   // whether it was regular when it was last looked at early
	grown    int    // where it is in the list of those that have many calls, counted from 1
	place    *list.Element
}

// pairs is the memory of all, within bounds.
type pairs struct {
	byKey                         map[pairKey]*pair
	quiet                         *list.List // of *pair, the one touched longest ago in front
	grown                         []*pair    // those that have, or had, as many calls as can be judged
	minCalls                      int
	maxPairs, maxCalls, maxMemory int
	memory                        int // calls held
	next                          uint64
	forgotten                     uint64 // calls dropped to stay within bounds
}

func newPairs(c *Config) pairs {
	return pairs{byKey: map[pairKey]*pair{}, quiet: list.New(), minCalls: c.MinCalls, maxPairs: c.MaxPairs, maxCalls: c.MaxCalls, maxMemory: c.MaxMemory}
}

func keyOf(f *sdk.Flow) (key pairKey) {
	key.src.Set(f.Src)
	key.dst.Set(f.Dst)
	key.port, key.proto = f.DstPort, f.Proto
	return key
}

// crowded returns the pair that must go before a call of p, nil for one that is not known, can be remembered, nil when there is
// room: the one that was touched longest ago.
func (m *pairs) crowded(p *pair) *pair {
	if m.memory < m.maxMemory && (p != nil || len(m.byKey) < m.maxPairs) {
		return nil
	}
	oldest := m.quiet.Front()
	if oldest.Value.(*pair) == p && oldest.Next() != nil {
		oldest = oldest.Next()
	}
	return oldest.Value.(*pair)
}

// appear makes the memory of a pair that is not known.
func (m *pairs) appear(key pairKey) *pair {
	m.next++
	p := &pair{key: key, number: m.next}
	m.insert(p)
	return p
}

// add remembers a call of a pair. There must be room.
func (m *pairs) add(p *pair, f *sdk.Flow) {
	m.quiet.MoveToBack(p.place)
	if len(p.calls) >= m.maxCalls {
		m.dropOldest(p, len(p.calls)/2)
	}
	c := call{start: f.Start.UnixNano(), end: f.End.UnixNano(), sent: f.FwdPayload, ref: flowref.Of(f)}
	if len(f.Packets) > 0 {
		c.packet = f.Packets[0]
	}
	p.calls = append(p.calls, c)
	m.memory++
	m.count(p)
}

// count lists a pair with those that can be judged once it has the calls for it: they are few among all.
func (m *pairs) count(p *pair) {
	if p.grown == 0 && len(p.calls) >= m.minCalls {
		m.grown = append(m.grown, p)
		p.grown = len(m.grown)
	}
}

func (m *pairs) insert(p *pair) {
	m.byKey[p.key] = p
	p.place = m.quiet.PushBack(p)
}

// dropOldest forgets the first n calls of a pair that has too many.
func (m *pairs) dropOldest(p *pair, n int) {
	p.calls = slices.Delete(p.calls, 0, n)
	m.memory -= n
	m.forgotten += uint64(n)
}

// forget drops a pair to stay within bounds.
func (m *pairs) forget(p *pair) {
	m.forgotten += uint64(len(p.calls))
	m.remove(p)
}

func (m *pairs) remove(p *pair) {
	m.memory -= len(p.calls)
	m.quiet.Remove(p.place)
	delete(m.byKey, p.key)
	if p.grown == 0 {
		return
	}
	end := len(m.grown) - 1
	last := m.grown[end]
	m.grown[p.grown-1], last.grown = last, p.grown
	m.grown[end], m.grown = nil, m.grown[:end]
	p.grown = 0
}

// expire drops what ended before a time: old calls, and pairs that have no others.
func (m *pairs) expire(before int64) {
	var next *list.Element
	for e := m.quiet.Front(); e != nil; e = next {
		p := e.Value.(*pair)
		next = e.Next() // before p may be removed
		n := len(p.calls)
		p.calls = slices.DeleteFunc(p.calls, func(c call) bool { return c.end < before })
		m.memory -= n - len(p.calls)
		if len(p.calls) == 0 {
			m.remove(p)
			continue
		}
		if cap(p.calls) > 2*len(p.calls) { // what it once held must not stay
			p.calls = slices.Clip(slices.Clone(p.calls))
		}
	}
}

// ordered lists the pairs with many calls that are wanted by appearance, so that findings come in the same order each time.
func (m *pairs) ordered(wanted func(*pair) bool) []*pair {
	var out []*pair
	for _, p := range m.grown {
		if len(p.calls) >= m.minCalls && wanted(p) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *pair) int { return cmp.Compare(a.number, b.number) })
	return out
}

// sole reports whether nobody else calls the service of a pair.
func (m *pairs) sole(p *pair) bool {
	for key := range m.byKey {
		if key.service == p.key.service && key.src != p.key.src {
			return false
		}
	}
	return true
}

// watched reports whether a host watches others, see watches.
func (m *pairs) watched(src bare.Addr) bool {
	for key := range m.byKey {
		if key.src == src && key.watches() {
			return true
		}
	}
	return false
}

// watches reports whether a pair is one of a host that watches and one that it asks by ping or SNMP.
func (k *pairKey) watches() bool {
	return k.proto == sdk.ProtoICMP || k.proto == sdk.ProtoICMPv6 || k.proto == sdk.ProtoUDP && k.port == portSNMP
}
