package bruteforce

import (
	"cmp"
	"container/list"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
)

// Limits of what is remembered of one source.
const (
	maxTargets = 256
	maxNames   = 5  // that a finding tells
	maxName    = 64 // bytes of one
	maxPackets = 32
	maxFlows   = 16
)

// pardon is for how many failures a success of the same account makes up. People who mistype a password get it right at the third
// try, or ask somebody.
const pardon = 3

// sourceKey is who fails where. A source is judged for each service apart.
type sourceKey struct {
	addr    bare.Addr
	service service
}

// source is the memory of one source at one kind of service.
type source struct {
	key         sourceKey
	proto       uint8
	number      uint64 // order of appearance
	first, last int64  // of its failures
	failures    uint32
	worked      uint32 // accounts that let it in after it stood out
	targets     []target
	accounts    []accountKey
	names       []string
	packets     []uint64
	refs        []ref
	best, sum   uint32 // peak of the target with most failures, and of all of them
	told        told
	place       *list.Element
}

// target is a service of a host.
type target struct {
	addr     bare.Addr
	port     uint16
	failures uint32
	users    uint32 // names that failed
	score    uint32 // failures that no success makes up for
	peak     uint32 // of score
	counted  uint32 // of score, by the victim
	turn     uint32 // of the victim, in which it is counted
}

// ref is a flow for the evidence.
type ref struct {
	flow   uint64
	port   uint16 // of the source
	target uint8
}

// told is what was reported last.
type told struct {
	rule             uint8 // 1 + index in rules
	failures, worked uint32
	dst              string
}

var rules = [...]string{RuleGuessing, RuleSpraying, RuleDistributed}

type accountKey struct {
	source  uint64
	account uint64
	target  uint8
}

type account struct {
	failures, score uint32
	worked          bool
}

// victimKey is who is attacked, by whomever.
type victimKey struct {
	addr    bare.Addr
	service service
}

// victim counts the sources that fail at one service of a host.
type victim struct {
	key         victimKey
	number      uint64
	proto       uint8
	port        uint16
	targets     int    // that point to it
	turn        uint32 // begins with 1, and anew when nothing came of the window
	first, last int64
	sources     uint32 // of this turn, whose score is not 0
	score       uint32 // of these, each at most the threshold
	packets     []uint64
	told        told
}

// memory is what is remembered, within bounds.
type memory struct {
	sources   map[sourceKey]*source
	quiet     *list.List // of *source, the one touched longest ago in front
	accounts  map[accountKey]account
	victims   map[victimKey]*victim
	next      uint64
	forgotten uint64
}

func newMemory() memory {
	return memory{sources: map[sourceKey]*source{}, quiet: list.New(), accounts: map[accountKey]account{}, victims: map[victimKey]*victim{}}
}

func (m *memory) find(a *attempt) *source {
	if len(m.sources) == 0 {
		return nil
	}
	return m.sources[sourceKey{a.src, a.service}]
}

// crowded is the source that must go before another failure of s, which is nil when it is not known, can be remembered: the one
// that was touched longest ago. It is nil when there is room, or nobody else.
func (m *memory) crowded(s *source, cfg *Config) *source {
	if len(m.accounts) < cfg.MaxAccounts && (s != nil || len(m.sources) < cfg.MaxSources) {
		return nil
	}
	for e := m.quiet.Front(); e != nil; e = e.Next() {
		if old := e.Value.(*source); old != s {
			return old
		}
	}
	return nil
}

func (m *memory) appear(a *attempt) *source {
	m.next++
	s := &source{key: sourceKey{a.src, a.service}, proto: a.proto, number: m.next, first: a.at, last: a.at}
	m.insert(s)
	return s
}

func (m *memory) insert(s *source) {
	m.sources[s.key] = s
	s.place = m.quiet.PushBack(s)
}

func (m *memory) remove(s *source) {
	for _, k := range s.accounts {
		delete(m.accounts, k)
	}
	for i := range s.targets {
		t := &s.targets[i]
		v := m.victims[victimKey{t.addr, s.key.service}]
		v.leave(t)
		if v.targets--; v.targets == 0 {
			delete(m.victims, v.key)
		}
	}
	m.quiet.Remove(s.place)
	delete(m.sources, s.key)
}

// target is the place of where somebody logs in, -1 when it is not known.
func (s *source) target(a *attempt) int {
	for i := range s.targets {
		if t := &s.targets[i]; t.port == a.serverPort && t.addr == a.dst {
			return i
		}
	}
	return -1
}

// fail remembers a failure; nothing when there is no room for it, or when it says what is known.
func (m *memory) fail(s *source, a *attempt, cfg *Config) *victim {
	m.quiet.MoveToBack(s.place)
	at := s.target(a)
	if a.unasked && at >= 0 && m.accounts[accountKey{s.number, a.account, uint8(at)}].failures > 0 {
		return nil
	}
	if at < 0 && len(s.targets) == maxTargets || len(m.accounts) >= cfg.MaxAccounts {
		m.forgotten++
		return nil
	}
	if at < 0 {
		at = len(s.targets)
		s.targets = append(s.targets, target{addr: a.dst, port: a.serverPort})
		m.point(&s.targets[at], s, a)
	}
	t, k := &s.targets[at], accountKey{s.number, a.account, uint8(at)}
	c, known := m.accounts[k]
	if !known {
		s.accounts = append(s.accounts, k)
	}
	if c.failures == 0 && a.account != 0 {
		t.users++
		s.name(a.user)
	}
	c.failures += a.count
	c.score += a.count
	m.accounts[k] = c
	s.first, s.last = min(s.first, a.at), max(s.last, a.at)
	s.failures += a.count
	t.failures += a.count
	s.evidence(a, uint8(at))
	return m.score(s, t, t.score+a.count, a, cfg)
}

// point joins a target to its victim.
func (m *memory) point(t *target, s *source, a *attempt) {
	k := victimKey{t.addr, s.key.service}
	v := m.victims[k]
	if v == nil {
		m.next++
		v = &victim{key: k, number: m.next, proto: a.proto, port: a.serverPort, turn: 1, first: a.at, last: a.at}
		m.victims[k] = v
	}
	v.targets++
}

// score changes the score of a target, and with it what its source and its victim sum up.
func (m *memory) score(s *source, t *target, score uint32, a *attempt, cfg *Config) *victim {
	v := m.victims[victimKey{t.addr, s.key.service}]
	if v.told.rule == 0 && a.at-v.first > int64(cfg.Window) {
		v.turn++
		v.sources, v.score, v.first, v.packets = 0, 0, a.at, nil
	}
	v.leave(t)
	if score > 0 {
		t.turn, t.counted = v.turn, min(score, uint32(cfg.Failures))
		v.sources++
		v.score += t.counted
		v.last = max(v.last, a.at)
		if score > t.score && len(v.packets) < maxPackets && a.packet > 0 {
			v.packets = append(v.packets, a.packet)
		}
	}
	t.score = score
	if score > t.peak {
		s.sum += score - t.peak
		t.peak = score
		s.best = max(s.best, score)
	}
	return v
}

// leave takes a target out of what the victim sums up.
func (v *victim) leave(t *target) {
	if t.counted > 0 && t.turn == v.turn {
		v.sources--
		v.score -= t.counted
	}
	t.counted = 0
}

// succeed remembers that an account let its source in, and reports whether that is remarkable: guesses came before it.
func (m *memory) succeed(s *source, a *attempt, cfg *Config) bool {
	at := s.target(a)
	if at < 0 {
		return false
	}
	t, k := &s.targets[at], accountKey{s.number, a.account, uint8(at)}
	c, known := m.accounts[k]
	guessed := s.told.rule != 0 && t.score > 0 && !c.worked
	if guessed {
		c.worked = true
		s.worked++
		s.last = max(s.last, a.at)
		s.evidence(a, uint8(at))
		if !known && len(m.accounts) < cfg.MaxAccounts {
			s.accounts = append(s.accounts, k)
			known = true
		}
	}
	less := min(c.score, pardon)
	c.score -= less
	if known {
		m.accounts[k] = c
	}
	if less > 0 {
		m.score(s, t, t.score-less, a, cfg)
	}
	return guessed
}

func (s *source) name(user string) {
	if len(s.names) < maxNames {
		user = strings.Clone(strings.ToValidUTF8(user[:min(len(user), maxName)], ""))
		if !slices.Contains(s.names, user) {
			s.names = append(s.names, user)
		}
	}
}

func (s *source) evidence(a *attempt, target uint8) {
	if a.worked || len(s.packets) < maxPackets {
		s.packets = kept(s.packets, a.packet, maxPackets, a.packet > 0)
	}
	if a.flow > 0 && !slices.ContainsFunc(s.refs, func(r ref) bool { return r.flow == a.flow }) {
		s.refs = kept(s.refs, ref{a.flow, a.clientPort, target}, maxFlows, a.worked || len(s.refs) < maxFlows)
	}
}

// kept appends what is wanted, in the place of the last one when there is no room.
func kept[T any](list []T, one T, limit int, wanted bool) []T {
	switch {
	case !wanted:
		return list
	case len(list) == limit:
		list[limit-1] = one
		return list
	}
	return append(list, one)
}

func (s *source) full(r ref) flowref.Ref {
	return flowref.Ref{ID: r.flow, SrcPort: r.port, DstPort: s.targets[r.target].port}
}

func (m *memory) inOrder() []*source {
	out := make([]*source, 0, len(m.sources))
	for _, s := range m.sources {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *source) int { return cmp.Compare(a.number, b.number) })
	return out
}

func (m *memory) victimsInOrder() []*victim {
	out := make([]*victim, 0, len(m.victims))
	for _, v := range m.victims {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b *victim) int { return cmp.Compare(a.number, b.number) })
	return out
}
