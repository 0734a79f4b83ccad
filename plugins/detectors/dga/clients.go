package dga

import (
	"cmp"
	"container/list"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// clients are the hosts that ask for names, within bounds.
type clients struct {
	byAddr     map[bare.Addr]*asker
	quiet      *list.List // of *asker, the one quiet for longest first
	next       uint64     // number of the next host
	names      int        // odd names held, of all hosts
	forgotten  uint64     // hosts that were forgotten for lack of room
	maxClients int
	maxNames   int
	maxMemory  int
}

// asker is one host and its window.
type asker struct {
	addr     bare.Addr
	number   uint64 // in order of appearance
	start    int64  // of the window
	last     int64
	asked    sketch // of all names that were judged
	odd      []oddName
	more     uint64  // odd names that did not fit, each time they came
	changed  bool    // since it was judged
	reported int     // names in the last finding
	told     float64 // and its surprise
	first    int64   // when it starts
	place    *list.Element
	burst    burst
}

// oddName is one name of a host that surprises.
type oddName struct {
	scored
	time   int64
	signs  signs
	packet uint64
	flow   uint64 // 0 for none
	client uint16 // port
	server netip.AddrPort
	proto  uint8
}

// signs are what was seen of a name beside it.
type signs uint8

const (
	missing signs = 1 << iota // there is no such name
	inClear                   // it was called by HTTP without encryption
	exists                    // somebody answered with what it is
)

// odd is from what surprise on a name is remembered: one ordinary name in sixteen.
const odd = 1200

func newClients(maxClients, maxNames, maxMemory int) clients {
	return clients{byAddr: map[bare.Addr]*asker{}, quiet: list.New(), maxClients: maxClients, maxNames: maxNames, maxMemory: maxMemory}
}

// of is the host with an address, or nil; it has asked last then.
func (m *clients) of(a netip.Addr) *asker {
	c := m.byAddr[bare.Of(a)]
	if c != nil {
		m.quiet.MoveToBack(c.place)
	}
	return c
}

func (m *clients) appear(a netip.Addr, now int64) *asker {
	c := &asker{addr: bare.Of(a), number: m.next, start: now}
	m.next++
	m.insert(c)
	return c
}

func (m *clients) insert(c *asker) {
	m.byAddr[c.addr] = c
	c.place = m.quiet.PushBack(c)
	m.names += len(c.odd)
}

func (m *clients) remove(c *asker) {
	m.names -= len(c.odd)
	m.quiet.Remove(c.place)
	delete(m.byAddr, c.addr)
}

// crowded is the host to forget before another one appears, if any.
func (m *clients) crowded() *asker {
	if len(m.byAddr) < m.maxClients {
		return nil
	}
	return m.quietest()
}

// full is a host to forget, other than c, while too many names are held.
func (m *clients) full(c *asker) *asker {
	if old := m.quietest(); m.names > m.maxMemory && old != c {
		return old
	}
	return nil
}

func (m *clients) quietest() *asker {
	if e := m.quiet.Front(); e != nil {
		return e.Value.(*asker)
	}
	return nil
}

// changed are the hosts to be judged anew, in order of appearance.
func (m *clients) changed() []*asker {
	return slices.DeleteFunc(m.ordered(), func(c *asker) bool { return !c.changed && !c.burst.changed })
}

func (m *clients) ordered() []*asker {
	out := make([]*asker, 0, len(m.byAddr))
	for _, c := range m.byAddr {
		if len(c.odd) > 0 || len(c.burst.names) >= fewFailing {
			out = append(out, c)
		}
	}
	slices.SortFunc(out, func(a, b *asker) int { return cmp.Compare(a.number, b.number) })
	return out
}

// add takes a name of a host and reports whether it holds more than before.
func (m *clients) add(c *asker, s *scored, at *sdk.Seen, how signs) bool {
	c.last = max(c.last, at.Time.UnixNano())
	c.asked.add(s.id)
	if s.surprise < odd {
		return false
	}
	if i := slices.IndexFunc(c.odd, func(o oddName) bool { return o.id == s.id }); i >= 0 {
		if o := &c.odd[i]; o.signs|how != o.signs {
			o.signs, c.changed = o.signs|how, true
		}
		return false
	}
	one := oddName{scored: *s, time: at.Time.UnixNano(), signs: how, packet: at.Packet, flow: at.Flow,
		client: at.ClientPort, server: netip.AddrPortFrom(at.Server, at.ServerPort), proto: at.Proto}
	if len(c.odd) >= m.maxNames {
		least := slices.MaxFunc(c.odd, byOddity)
		if c.more++; byOddity(one, least) < 0 {
			c.odd[slices.Index(c.odd, least)], c.changed = one, true
		}
		return false
	}
	c.odd = append(c.odd, one)
	c.changed = true
	m.names++
	return true
}

// sketch estimates how many different names there were.
type sketch [16]uint64

const sketchBits = 64 * len(sketch{})

func (s *sketch) add(id uint64) {
	at := (id ^ id>>32) % uint64(sketchBits)
	s[at/64] |= 1 << (at % 64)
}

// has reports whether an id may have been added.
func (s *sketch) has(id uint64) bool {
	at := (id ^ id>>32) % uint64(sketchBits)
	return s[at/64]&(1<<(at%64)) != 0
}

// count is what linear counting makes of the bits.
func (s *sketch) count() int {
	set := 0
	for _, w := range s {
		set += bits.OnesCount64(w)
	}
	free := max(float64(sketchBits-set), 0.5)
	return int(math.Round(float64(sketchBits) * math.Log(float64(sketchBits)/free)))
}

// byOddity orders names, the most surprising first, so that the order in which they came decides nothing.
func byOddity(a, b oddName) int {
	return cmp.Or(cmp.Compare(b.weight(), a.weight()), cmp.Compare(a.time, b.time), strings.Compare(a.domain, b.domain))
}
