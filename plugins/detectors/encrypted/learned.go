package encrypted

import (
	"math/bits"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
)

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	issues    issue.Table
	hellos    recent.Table[uint64, *hello]
	questions recent.Table[uint64, *questions]
	hosts     recent.Table[bare.Addr, *known]
	segments  recent.Table[bare.Addr, *known]
	services  recent.Table[uint64, *usage]
	prints    recent.Table[uint64, *usage]
	shapes    recent.Table[issue.Key, *lastShape]
	sealed    uint64 // connections of TLS to the port of HTTPS, up to enough
}

// maxSegments is how many networks are remembered with what is usual in them.
const maxSegments = 512

func newMemory(cfg *Config) memory {
	return memory{
		issues: issue.New(cfg.MaxFindings), hellos: recent.New[uint64, *hello](maxHellos), questions: recent.New[uint64, *questions](cfg.MaxHosts),
		hosts: recent.New[bare.Addr, *known](cfg.MaxHosts), segments: recent.New[bare.Addr, *known](maxSegments),
		services: recent.New[uint64, *usage](cfg.MaxServices), prints: recent.New[uint64, *usage](cfg.MaxServices),
		shapes: recent.New[issue.Key, *lastShape](cfg.MaxFindings),
	}
}

// known is what is usual for a host, or in the network that it belongs to.
type known struct {
	addr  bare.Addr
	first int64
	shape.Profile
}

// usage is a destination, or a fingerprint in a network, with who uses it.
type usage struct {
	key     uint64
	client  bare.Addr // the first who did
	many    bool      // others do, too
	first   int64
	flows   uint32
	unusual uint32
	signs   uint32 // of the flows
}

// lastShape is that of the last connection of a matter.
type lastShape struct {
	key issue.Key
	shape.Shape
}

func (m *memory) keep(key issue.Key, s shape.Shape) {
	if l, there := m.shapes.Get(key); there {
		l.Shape = s
		return
	}
	if old, full := m.shapes.Crowded(); full {
		m.shapes.Forget(old.key)
	}
	m.shapes.Put(key, &lastShape{key, s})
}

// Signs of a stranger. The first two are what makes one, the others what makes it worse.
const (
	newPrint     uint32 = 1 << iota // the host says hello as neither it nor its network did before
	unusualShape                    // its connections are not like others of the host, nor of the network
	strangeNameless
	strangeNoProtocols
	strangeSelfSigned
	strangePort
	lonely // nobody else knows the server, and the host did not while it was learned
	// The facts that are unusual, from here on.
	firstFact = iota
)

var strangeWords = []string{"a hello that neither it nor its network had before", "connections unlike its others", "no name is asked for", "no protocols are offered", "the server vouches for itself", "the port is unusual"}

// What each sign counts, in hundredths, and from where on it is told, and told with medium severity.
var strangeWeights = [...]int{25, 25, 20, 10, 20, 15}

const (
	strangeTold   = 45
	strangeMedium = 70
)

func weigh(signs uint32) (sum int) {
	for i, w := range strangeWeights {
		if signs&(1<<i) != 0 {
			sum += w
		}
	}
	return sum
}

func worthTelling(signs uint32) bool {
	return signs&lonely != 0 && signs&(newPrint|unusualShape) != 0 && weigh(signs) >= strangeTold
}

const (
	// hostFlows and segmentFlows are what must be known of a host and of its network.
	hostFlows, segmentFlows = 100, 200
	// fewCalls is from how many connections on a destination is more than a visit.
	fewCalls = 3
	// enoughFacts are odd of a flow that is unusual.
	enoughFacts = 2
)

// learned compares a connection with what is usual, adds it to that, and returns its signs when its destination is a stranger's.
func (m *memory) learned(c *connection, learn, halfLife int64) (signs uint32) {
	at, s := c.Start.UnixNano(), shape.Of(c.Flow)
	host, segment := m.of(&m.hosts, c.client, at), m.of(&m.segments, segmentOf(c.Src), at)
	service := use(&m.services, stir(m.destination(c)), c.client, at)
	print := use(&m.prints, stir(c.print^hashAddr(segment.addr)), c.client, at)

	if host.Ready(at, learn, hostFlows) && segment.Ready(at, learn, segmentFlows) && !service.many && service.first-host.first >= learn {
		signs = lonely
		service.flows++
		if !print.many && print.first-host.first >= learn {
			service.signs |= newPrint
		}
		if odd := unusual(&host.Profile, &segment.Profile, &s); odd != 0 {
			service.unusual++
			service.signs |= odd << firstFact
		}
		signs |= m.strange(c, service)
	}
	host.Add(at, &s, halfLife)
	segment.Add(at, &s, halfLife)
	return signs
}

// strange are the signs of a destination that only one host has, with this connection.
func (m *memory) strange(c *connection, service *usage) (signs uint32) {
	if service.flows < fewCalls {
		return 0
	}
	signs = service.signs & newPrint
	if 2*service.unusual >= service.flows {
		signs |= unusualShape | service.signs&^(1<<firstFact-1)
	}
	for i, has := range []bool{c.signs&nameless != 0, c.signs&noProtocols != 0, c.signs&selfSigned != 0, !usualPort(c.DstPort)} {
		if has {
			signs |= strangeNameless << i
		}
	}
	return signs
}

// unusual are the facts of a shape that are odd both for the host and for its network, when they are enough.
func unusual(host, segment *shape.Profile, s *shape.Shape) uint32 {
	odd := host.Odd(s) & segment.Odd(s)
	if bits.OnesCount32(odd) < enoughFacts {
		return 0
	}
	return odd
}

// of is what is known of a host or a network.
func (m *memory) of(in *recent.Table[bare.Addr, *known], addr bare.Addr, at int64) *known {
	if k, there := in.Get(addr); there {
		return k
	}
	if old, full := in.Crowded(); full {
		in.Forget(old.addr)
	}
	k := &known{addr: addr, first: at}
	in.Put(addr, k)
	return k
}

// use remembers that a client uses something.
func use(in *recent.Table[uint64, *usage], key uint64, client bare.Addr, at int64) *usage {
	s, there := in.Get(key)
	if !there {
		if old, full := in.Crowded(); full {
			in.Forget(old.key)
		}
		s = &usage{key: key, client: client, first: at}
		in.Put(key, s)
	}
	s.many = s.many || s.client != client
	return s
}

// destination is whom a connection is with: the name that is asked for, else the address.
func (m *memory) destination(c *connection) uint64 {
	if c.signs&nameless == 0 {
		return hash(c.name)
	}
	return hashAddr(c.server) ^ uint64(c.DstPort)
}

func hashAddr(a bare.Addr) uint64 { return hash(string(a[:])) }

// segmentOf is the network that an address belongs to: 256 addresses, or 2^64 of IPv6.
func segmentOf(a netip.Addr) bare.Addr {
	length := 64
	if a.Is4() {
		length = 24
	}
	p, err := a.Prefix(length)
	if err != nil {
		return bare.Addr{}
	}
	return bare.Of(p.Addr())
}

// factsOf are the facts that signs name.
func factsOf(signs uint32) (facts []int) {
	for i := range shape.Facts {
		if signs&(1<<(firstFact+i)) != 0 {
			facts = append(facts, i)
		}
	}
	return slices.Clip(facts)
}
