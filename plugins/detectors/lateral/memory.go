package lateral

import (
	"cmp"
	"container/list"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// Limits of what is remembered.
const (
	forget         = int64(24 * time.Hour) // without an act, the next one is another matter
	maxPackets     = 16
	maxFlows       = 8
	maxNames       = 3
	maxControllers = 1024
	maxActors      = 1024
	maxHosts       = 64 // that one host acted on, within the hour
)

// pairKey is who does what to whom; of what is new, it is what family that belongs to.
type pairKey struct {
	from, to bare.Addr
	kind     kind
	family   kind
}

// pair is the memory of one kind of act between two hosts.
type pair struct {
	key         pairKey
	number      uint64 // order of appearance
	first, last int64
	count, told uint32
	severe      sdk.Severity // as it was told
	copied      bool         // a program was copied there, too
	guessed     bool         // of the first act
	technique   string
	names       []string
	packets     []uint64
	refs        []ref
	place       *list.Element
}

// ref is a flow for the evidence.
type ref struct {
	flow     uint64
	from, to uint16
	proto    uint8
}

// actor is a host with those that it acted on.
type actor struct {
	addr        bare.Addr
	number      uint64
	first, last int64
	hosts       []bare.Addr
	packets     []uint64
	told        uint32
}

// memory is what is remembered, within bounds.
type memory struct {
	pairs       map[pairKey]*pair
	quiet       *list.List // of *pair, the one touched longest ago in front
	actors      map[bare.Addr]*actor
	askers      map[bare.Addr]*asker
	controllers map[bare.Addr]struct{}
	strong      map[bare.Addr]struct{} // of these, who give tickets with AES
	weak        map[uint64]struct{}    // services with weak tickets that were told, by their names
	known       map[uint64]struct{}    // pairs that are usual
	usual       []uint64               // the same, as they came
	begun       int64                  // time of the first act
	shares      shares
	old         notes // that somebody wants RC4 before anything else
	binds       notes // whether clients prove who they are
	unbound     notes // which operations are called of an interface that is not known
	swept       int64 // time of the last look at those that are quiet
	next        uint64
	forgotten   uint64
}

func newMemory() memory {
	return memory{
		pairs: map[pairKey]*pair{}, quiet: list.New(), actors: map[bare.Addr]*actor{}, askers: map[bare.Addr]*asker{},
		controllers: map[bare.Addr]struct{}{}, strong: map[bare.Addr]struct{}{}, weak: map[uint64]struct{}{}, known: map[uint64]struct{}{},
	}
}

func (m *memory) isController(a bare.Addr) bool {
	_, found := m.controllers[a]
	return found
}

func (m *memory) noteController(a bare.Addr) {
	if len(m.controllers) < maxControllers {
		m.controllers[a] = struct{}{}
	}
}

// learn remembers that two hosts do such things, and reports whether that is news.
func (m *memory) learn(from, to bare.Addr, a *act, cfg *Config) bool {
	if m.begun == 0 {
		m.begun = a.at
	}
	f := family(a.kind)
	if f == none {
		return false
	}
	h := hash(hash(hash(offset, from[:]), to[:]), []byte{byte(f)})
	if _, found := m.known[h]; found {
		return false
	}
	if len(m.known) >= cfg.MaxKnown {
		m.forgotten++
		return false
	}
	m.known[h] = struct{}{}
	m.usual = append(m.usual, h)
	return a.at-m.begun > int64(cfg.Learn)
}

// offset begins FNV-1a, which is the same everywhere.
const offset = uint64(14695981039346656037)

func hash[T string | []byte](h uint64, b T) uint64 {
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	return h
}

// family makes those acts one that go together: whoever makes a service may as well make a task. Acts that records of different
// kinds tell are apart, as these come in no certain order.
func family(k kind) kind {
	switch k {
	case ssh, rdp, winrm:
		return k
	case shell:
		return winrm
	case share, program:
		return share
	case service, task, process, object:
		return service
	}
	return none
}

func (m *memory) quietest() *pair { return m.quiet.Front().Value.(*pair) }

func (m *memory) appear(k pairKey, a *act) *pair {
	m.next++
	p := &pair{key: k, number: m.next, first: a.at, last: a.at, technique: techniqueOf(a.kind), guessed: a.guessed}
	m.insert(p)
	return p
}

func (m *memory) insert(p *pair) {
	m.pairs[p.key] = p
	p.place = m.quiet.PushBack(p)
}

func (m *memory) remove(p *pair) {
	m.quiet.Remove(p.place)
	delete(m.pairs, p.key)
}

func (m *memory) add(p *pair, a *act) {
	m.quiet.MoveToBack(p.place)
	p.first, p.last = min(p.first, a.at), max(p.last, a.at)
	p.count++
	if len(p.packets) < maxPackets && a.packet > 0 {
		p.packets = append(p.packets, a.packet)
	}
	if len(p.refs) < maxFlows && a.flow > 0 && !slices.ContainsFunc(p.refs, func(r ref) bool { return r.flow == a.flow }) {
		p.refs = append(p.refs, ref{a.flow, a.fromPort, a.toPort, sdk.ProtoTCP})
	}
	if a.name != "" && len(p.names) < maxNames && !slices.Contains(p.names, a.name) {
		p.names = append(p.names, strings.Clone(a.name))
	}
}

// sweep makes room for others, once in a minute: looking through all for each that comes would take long when there are many.
func (m *memory) sweep(at int64) {
	if at-m.swept < int64(time.Minute) {
		return
	}
	m.swept = at
	maps.DeleteFunc(m.actors, func(_ bare.Addr, o *actor) bool { return at-o.last > int64(time.Hour) })
	maps.DeleteFunc(m.askers, func(_ bare.Addr, o *asker) bool { return at-o.last > together })
}

// act notes that a host acted on another one, and returns what is known of it; nothing when it did so before.
func (m *memory) act(from bare.Addr, a *act) *actor {
	s := m.actors[from]
	if s == nil || a.at-s.last > int64(time.Hour) {
		if s == nil && len(m.actors) >= maxActors {
			m.sweep(a.at)
		}
		if s == nil && len(m.actors) >= maxActors {
			m.forgotten++
			return nil
		}
		m.next++
		s = &actor{addr: from, number: m.next, first: a.at, last: a.at}
		m.actors[from] = s
	}
	s.first, s.last = min(s.first, a.at), max(s.last, a.at)
	to := bare.Of(a.to)
	if len(s.hosts) >= maxHosts || slices.Contains(s.hosts, to) {
		return nil
	}
	s.hosts = append(s.hosts, to)
	if len(s.packets) < maxPackets && a.packet > 0 {
		s.packets = append(s.packets, a.packet)
	}
	return s
}

func (m *memory) inOrder() []*pair {
	out := make([]*pair, 0, len(m.pairs))
	for _, p := range m.pairs {
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b *pair) int { return cmp.Compare(a.number, b.number) })
	return out
}

func (m *memory) actorsInOrder() []*actor {
	out := make([]*actor, 0, len(m.actors))
	for _, s := range m.actors {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *actor) int { return cmp.Compare(a.number, b.number) })
	return out
}

func (m *memory) askersInOrder() []*asker {
	out := make([]*asker, 0, len(m.askers))
	for _, t := range m.askers {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b *asker) int { return cmp.Compare(a.number, b.number) })
	return out
}
