package lateral

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// snapshotVersion is the form of a snapshot: numbers behind each other, first those of the detector, then its lists.
// A state of the first version does not say which connections prove who they are, one of the first two nothing of weak tickets.
const (
	snapshotVersion = 3
	secondVersion   = 2
	firstVersion    = 1
)

// What a pair and a usual pair take in a snapshot, about.
const (
	pairSize  = 128
	knownSize = 8
)

var severities = [...]sdk.Severity{"", sdk.SeverityInfo, sdk.SeverityLow, sdk.SeverityMedium, sdk.SeverityHigh, sdk.SeverityCritical}

// errNonsense is told of a state that no detector has written.
var errNonsense = errors.New("it makes no sense")

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	m := &d.memory
	b := saved.Begin(snapshotVersion, len(m.pairs)*pairSize+len(m.usual)*knownSize)
	b = binary.AppendUvarint(b, m.next)
	b = binary.AppendUvarint(b, m.forgotten)
	b = binary.AppendVarint(b, m.begun)
	b = binary.AppendVarint(b, m.swept)
	b = binary.AppendUvarint(b, uint64(len(m.usual)))
	for _, h := range m.usual {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	b = appendAddrs(b, inOrderOf(m.controllers))
	b = m.shares.appendTo(b)
	b = m.binds.appendTo(m.unbound.appendTo(m.old.appendTo(b)))
	b = binary.AppendUvarint(b, uint64(len(m.pairs)))
	for e := m.quiet.Front(); e != nil; e = e.Next() {
		b = e.Value.(*pair).appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(len(m.actors)))
	for _, s := range m.actorsInOrder() {
		b = s.appendTo(b)
	}
	b = binary.AppendUvarint(b, uint64(len(m.askers)))
	for _, t := range m.askersInOrder() {
		b = t.appendTo(b)
	}
	b = appendAddrs(b, inOrderOf(m.strong))
	weak := slices.Sorted(maps.Keys(m.weak))
	b = binary.AppendUvarint(b, uint64(len(weak)))
	for _, h := range weak {
		b = binary.LittleEndian.AppendUint64(b, h)
	}
	return saved.Seal(b), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	version := snapshotVersion
	p, err := saved.Open(snapshotVersion, state)
	for _, earlier := range []int{secondVersion, firstVersion} {
		if one, other := saved.Open(uint8(earlier), state); err != nil && other == nil {
			version, p, err = earlier, one, nil
		}
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	m := newMemory()
	if err := errors.Join(m.read(p, version), p.End()); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.memory = m
	return nil
}

func (m *memory) read(p *saved.Packed, version int) error {
	m.next, m.forgotten, m.begun, m.swept = p.Uint(), p.Uint(), p.Int(), p.Int()
	for range p.Count() {
		var b [knownSize]byte
		p.Fill(b[:])
		h := binary.LittleEndian.Uint64(b[:])
		if _, found := m.known[h]; found {
			return errNonsense
		}
		m.known[h] = struct{}{}
		m.usual = append(m.usual, h)
	}
	for _, a := range readAddrs(p, maxControllers) {
		m.controllers[a] = struct{}{}
	}
	m.shares.readFrom(p)
	m.old.readFrom(p)
	m.unbound.readFrom(p)
	if version > firstVersion {
		m.binds.readFrom(p)
	}
	numbers := map[uint64]bool{}
	for range p.Count() {
		one := readPair(p)
		if m.pairs[one.key] != nil || one.key.kind == none || one.key.kind >= kinds || numbers[one.number] {
			return errNonsense
		}
		numbers[one.number] = true
		m.insert(one)
	}
	for range p.Count() {
		s := readActor(p)
		if m.actors[s.addr] != nil || len(s.hosts) == 0 || numbers[s.number] {
			return errNonsense
		}
		numbers[s.number] = true
		m.actors[s.addr] = s
	}
	for range p.Count() {
		t := readAsker(p)
		if m.askers[t.addr] != nil || numbers[t.number] {
			return errNonsense
		}
		numbers[t.number] = true
		m.askers[t.addr] = t
	}
	if version <= secondVersion {
		return nil
	}
	for _, a := range readAddrs(p, maxControllers) {
		m.strong[a] = struct{}{}
	}
	for range p.Count() {
		var b [8]byte
		if p.Fill(b[:]); len(m.weak) < maxWeak {
			m.weak[binary.LittleEndian.Uint64(b[:])] = struct{}{}
		}
	}
	return nil
}

// inOrderOf lists addresses in their order.
func inOrderOf(set map[bare.Addr]struct{}) []bare.Addr {
	out := make([]bare.Addr, 0, len(set))
	for a := range set {
		out = append(out, a)
	}
	slices.SortFunc(out, func(a, b bare.Addr) int { return cmp.Compare(string(a[:]), string(b[:])) })
	return out
}

func readByte(p *saved.Packed) uint8 {
	var b [1]byte
	p.Fill(b[:])
	return b[0]
}

func appendAddrs(b []byte, list []bare.Addr) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		b = list[i].AppendTo(b)
	}
	return b
}

// readAddrs reads up to limit addresses, each of which comes once.
func readAddrs(p *saved.Packed, limit int) (list []bare.Addr) {
	for range p.Count() {
		if a := bare.Read(p); len(list) < limit && !slices.Contains(list, a) {
			list = append(list, a)
		}
	}
	return list
}

func appendNumbers(b []byte, list []uint64) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, n := range list {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// readNumbers reads up to limit numbers.
func readNumbers(p *saved.Packed, limit int) (list []uint64) {
	for range p.Count() {
		if n := p.Uint(); len(list) < limit {
			list = append(list, n)
		}
	}
	return list
}

func appendTexts(b []byte, list []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return b
}

func readTexts(p *saved.Packed, limit int) (list []string) {
	for range p.Count() {
		if s := string(p.Bytes(maxName)); len(list) < limit {
			list = append(list, s)
		}
	}
	return list
}

func appendRefs(b []byte, list []ref) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, r := range list {
		b = binary.AppendUvarint(b, r.flow)
		b = binary.AppendUvarint(b, uint64(r.from))
		b = append(binary.AppendUvarint(b, uint64(r.to)), r.proto)
	}
	return b
}

func readRefs(p *saved.Packed) (list []ref) {
	for range p.Count() {
		if r := (ref{p.Uint(), uint16(p.Uint()), uint16(p.Uint()), readByte(p)}); len(list) < maxFlows {
			list = append(list, r)
		}
	}
	return list
}

// inOrder are the flows of a circle, the first one in front, without those that are no longer known.
func inOrder[T any](order []uint64, next int, known map[uint64]T) []uint64 {
	out := make([]uint64, 0, len(order))
	for i := range order {
		if flow := order[(next+i)%len(order)]; hasKey(known, flow) {
			out = append(out, flow)
		}
	}
	return out
}

func hasKey[T any](known map[uint64]T, flow uint64) bool {
	_, found := known[flow]
	return found
}

func (s *shares) appendTo(b []byte) []byte {
	list := inOrder(s.order, s.next, s.byFlow)
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, flow := range list {
		c := s.byFlow[flow]
		b = binary.AppendUvarint(b, flow)
		b = binary.AppendUvarint(b, c.asked)
		b = binary.AppendUvarint(b, c.opening)
		b = appendNumbers(appendTexts(b, []string{c.name}), c.trees)
	}
	return b
}

func (s *shares) readFrom(p *saved.Packed) {
	for range p.Count() {
		flow, c := p.Uint(), connection{asked: p.Uint(), opening: p.Uint()}
		for _, name := range readTexts(p, 1) {
			c.name = name
		}
		c.trees = readNumbers(p, maxTrees)
		if len(s.order) < maxConnections && !hasKey(s.byFlow, flow) {
			*s.open(flow) = c
		}
	}
}

func (n *notes) appendTo(b []byte) []byte {
	list := inOrder(n.order, n.next, n.flows)
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, flow := range list {
		b = binary.AppendUvarint(binary.AppendUvarint(b, flow), n.flows[flow])
	}
	return b
}

func (n *notes) readFrom(p *saved.Packed) {
	for range p.Count() {
		if flow, bits := p.Uint(), p.Uint(); len(n.order) < maxNotes {
			n.add(flow, bits)
		}
	}
}

func (p *pair) appendTo(b []byte) []byte {
	b = p.key.to.AppendTo(p.key.from.AppendTo(b))
	b = append(b, byte(p.key.kind), byte(p.key.family), bit(p.copied), bit(p.guessed), byte(p.severe.Rank()))
	b = binary.AppendUvarint(b, p.number)
	b = binary.AppendVarint(b, p.first)
	b = binary.AppendVarint(b, p.last-p.first)
	b = binary.AppendUvarint(b, uint64(p.count))
	b = binary.AppendUvarint(b, uint64(p.told))
	b = appendTexts(appendTexts(b, []string{p.technique}), p.names)
	return appendRefs(appendNumbers(b, p.packets), p.refs)
}

func bit(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func readPair(p *saved.Packed) *pair {
	one := &pair{key: pairKey{from: bare.Read(p), to: bare.Read(p), kind: kind(readByte(p)), family: kind(readByte(p))}, copied: readByte(p) != 0, guessed: readByte(p) != 0}
	one.severe = severities[min(int(readByte(p)), len(severities)-1)]
	one.number, one.first = p.Uint(), p.Int()
	one.last, one.count, one.told = one.first+p.Int(), uint32(p.Uint()), uint32(p.Uint())
	for _, technique := range readTexts(p, 1) {
		one.technique = technique
	}
	one.names, one.packets, one.refs = readTexts(p, maxNames), readNumbers(p, maxPackets), readRefs(p)
	return one
}

func (s *actor) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(s.addr.AppendTo(b), s.number)
	b = binary.AppendVarint(b, s.first)
	b = binary.AppendVarint(b, s.last-s.first)
	b = binary.AppendUvarint(b, uint64(s.told))
	return appendNumbers(appendAddrs(b, s.hosts), s.packets)
}

func readActor(p *saved.Packed) *actor {
	s := &actor{addr: bare.Read(p), number: p.Uint(), first: p.Int()}
	s.last, s.told = s.first+p.Int(), uint32(p.Uint())
	s.hosts, s.packets = readAddrs(p, maxHosts), readNumbers(p, maxPackets)
	return s
}

func (t *asker) appendTo(b []byte) []byte {
	b = binary.AppendUvarint(t.from.AppendTo(t.addr.AppendTo(b)), t.number)
	b = binary.AppendVarint(b, t.first)
	b = binary.AppendVarint(b, t.last-t.first)
	b = binary.AppendUvarint(b, uint64(t.downgraded))
	b = binary.AppendUvarint(b, uint64(t.told))
	b = appendTexts(appendNumbers(b, t.services), t.names)
	return appendRefs(appendNumbers(b, t.packets), t.refs)
}

func readAsker(p *saved.Packed) *asker {
	t := &asker{addr: bare.Read(p), from: bare.Read(p), number: p.Uint(), first: p.Int()}
	t.last, t.downgraded, t.told = t.first+p.Int(), int(uint32(p.Uint())), uint32(p.Uint())
	t.services, t.names = readNumbers(p, maxTicket), readTexts(p, maxNames)
	t.packets, t.refs = readNumbers(p, maxPackets), readRefs(p)
	return t
}
