package anomaly

import (
	"math/bits"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/plugins/detectors/internal/shape"
	"github.com/picketwatch/picket/sdk"
)

// The classes of flows that have profiles of their own.
const (
	web uint8 = iota
	names
	remote // shells and desktops
	files
	mail
	otherTCP
	otherUDP
	classes
)

var classNames = [classes]string{"web", "names", "remote work", "files", "mail", "TCP", "UDP"}

// classOf is by the content of a flow, or by its port where that is not known.
func classOf(f *sdk.Flow) uint8 {
	switch f.App {
	case "http", "http2", "grpc":
		return web
	case "dns":
		return names
	case "ssh", "rdp", "telnet":
		return remote
	case "smb", "ftp":
		return files
	case "smtp", "imap", "pop3":
		return mail
	case "tls", "quic", "dtls":
		return classes // those are looked at by picket/encrypted
	}
	switch f.DstPort {
	case 53:
		return names
	case 80, 8080:
		return web
	case 443:
		return classes
	}
	if f.Proto == sdk.ProtoUDP {
		return otherUDP
	}
	return otherTCP
}

// group is a host, or the network that it belongs to, with what is usual there.
type group struct {
	addr     bare.Addr
	first    int64
	profiles [classes]*shape.Profile
	activity
}

// baselines are what is known of the own hosts and networks.
type baselines struct {
	hosts, segments recent.Table[bare.Addr, *group]
	pairs           recent.Table[issue.Key, *odd]
	matters         issue.Table
}

// maxSegments and maxOdd bound the networks and the pairs with odd flows.
const (
	maxSegments = 512
	maxOdd      = 4096
	maxMatters  = 1024
)

func newBaselines(hosts int) baselines {
	return baselines{
		hosts: recent.New[bare.Addr, *group](hosts), segments: recent.New[bare.Addr, *group](maxSegments),
		pairs: recent.New[issue.Key, *odd](maxOdd), matters: issue.New(maxMatters),
	}
}

// odd is a host and a service that had flows unlike others of the host.
type odd struct {
	key    issue.Key
	usual  bool // they were there before the host was known
	flows  uint32
	unlike uint32
	facts  uint32
	last   shape.Shape
}

const (
	// hostFlows and segmentFlows are what must be known of a class.
	hostFlows, segmentFlows = 100, 200
	// enoughFacts are odd of a flow that is unlike others, and enoughOdd are the flows of that kind that are told.
	enoughFacts, enoughOdd = 2, 3
)

// learn compares a flow with what is usual for its host and network, and adds it to that.
func (d *Detector) learn(f *sdk.Flow, sink sdk.FindingSink) error {
	host := d.hostOf(f)
	if host == nil {
		return nil
	}
	at := f.Start.UnixNano()
	segment := d.of(&d.segments, segmentOf(f.Src), at)
	if err := d.count(f, host, segment, sink); err != nil {
		return err
	}
	class := classOf(f)
	if class == classes || f.FwdPayload == 0 && f.RevPayload == 0 {
		return nil
	}
	s, here, there := shape.Of(f), host.profile(class), segment.profile(class)
	var facts uint32
	if here.Ready(at, 0, hostFlows) && there.Ready(at, 0, segmentFlows) {
		facts = here.Odd(&s) & there.Odd(&s)
	}
	known := at-host.first >= int64(d.cfg.Learn)
	here.Add(at, &s, int64(d.cfg.HalfLife))
	there.Add(at, &s, int64(d.cfg.HalfLife))
	return d.unlike(f, class, facts, known, &s, sink)
}

// unlike counts flows of a pair from the first one on that is unlike others.
func (d *Detector) unlike(f *sdk.Flow, class uint8, facts uint32, known bool, s *shape.Shape, sink sdk.FindingSink) error {
	strange := bits.OnesCount32(facts) >= enoughFacts
	if !strange && d.pairs.Len() == 0 {
		return nil
	}
	key := issue.Key{Client: bare.Of(f.Src), Server: bare.Of(f.Dst), Port: f.DstPort, Rule: class}
	pair, seen := d.pairs.Get(key)
	switch {
	case !seen && !strange:
		return nil
	case !seen:
		if old, full := d.pairs.Crowded(); full {
			d.pairs.Forget(old.key)
		}
		pair = &odd{key: key, usual: !known}
		d.pairs.Put(key, pair)
	}
	pair.flows++
	if !strange {
		return nil
	}
	pair.unlike, pair.last = pair.unlike+1, *s
	pair.facts |= facts
	if pair.usual || pair.unlike < enoughOdd || 2*pair.unlike < pair.flows {
		return nil
	}
	return d.see(key, f, pair.facts, sink)
}

// see adds to a matter.
func (d *Detector) see(key issue.Key, f *sdk.Flow, signs uint32, sink sdk.FindingSink) error {
	seen := issue.Seen{At: f.Start, Client: f.Src, Server: f.Dst, Flow: flowref.Of(f), Proto: f.Proto, Signs: signs}
	if len(f.Packets) > 0 {
		seen.Packet = f.Packets[0]
	}
	return d.matters.See(key, &seen, func(i *issue.Issue) error { return sink.Finding(d.matter(i)) })
}

func (g *group) profile(class uint8) *shape.Profile {
	if g.profiles[class] == nil {
		g.profiles[class] = &shape.Profile{}
	}
	return g.profiles[class]
}

// hostOf is what is known of the host that began a flow, nil for one that is not of the own networks.
func (d *Detector) hostOf(f *sdk.Flow) *group {
	addr := bare.Of(f.Src)
	if g, known := d.hosts.Get(addr); known {
		return g
	}
	if !contain(d.internal, f.Src) || contain(d.ignore, f.Src) {
		return nil
	}
	return d.of(&d.hosts, addr, f.Start.UnixNano())
}

func (d *Detector) of(in *recent.Table[bare.Addr, *group], addr bare.Addr, at int64) *group {
	if g, known := in.Get(addr); known {
		return g
	}
	if old, full := in.Crowded(); full {
		in.Forget(old.addr)
	}
	g := &group{addr: addr, first: at}
	in.Put(addr, g)
	return g
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

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
