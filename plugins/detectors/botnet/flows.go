package botnet

import (
	"slices"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/evidence"
	"github.com/picketwatch/picket/plugins/detectors/internal/flowref"
	"github.com/picketwatch/picket/plugins/detectors/internal/sketch"
	"github.com/picketwatch/picket/sdk"
)

// kind is what a fan is judged by.
type kind uint8

const (
	ofChat kind = iota
	ofPool
	ofCurrency
	ofPeers
	ofSpread
	ofHeartbeat
	kinds
)

// fanKey is what a host does with many hosts on one port, or of chats, pools and heartbeats with one server.
type fanKey struct {
	src, dst bare.Addr // dst of chats, pools and heartbeats alone
	port     uint16
	proto    uint8
	kind     kind
}

const (
	hour int64 = 3600e9
	// shortExchange is how much a peer sends at most, of fewPackets packets.
	shortExchange, fewPackets = 2048, 12
	// fewNets is how many of the peers' networks of 16 bits must differ, of three.
	fewNets = 2
	// exploits and failures are with how many hosts a worm does the same, and on how many it finds nothing.
	exploits, failures = 3, 8
	// smallestExploit is what it sends at least: more than a greeting.
	smallestExploit = 200
)

// sizes counts exchanges by how much the client sends; a slot holds one size.
type sizes struct {
	size  [4]uint64
	count [4]uint64
}

func (s *sizes) add(size uint64) uint64 {
	least := 0
	for i := range s.size {
		if s.count[i] > 0 && near(s.size[i], size) {
			s.count[i]++
			return s.count[i]
		}
		if s.count[i] < s.count[least] {
			least = i
		}
	}
	s.size[least], s.count[least] = size, 1
	return 1
}

// near reports whether two sizes differ by a sixteenth at most.
func near(a, b uint64) bool { return max(a, b)-min(a, b) <= max(a, b)/16 }

func (s *sizes) most() uint64 { return slices.Max(s.count[:]) }

// fan is what is known of a key within an hour.
type fan struct {
	fanKey
	begin                        int64
	hosts, nets                  sketch.Sketch
	nHosts, nNets, failed, flows uint64 // nHosts and nNets in units of sketch
	sizes                        sizes
	told                         uint64
	refs                         []to
	evidence.Evidence
}

// to is a flow with where it went.
type to struct {
	dst bare.Addr
	flowref.Ref
}

const maxFlows = 16

// attacked are the services that worms come in by.
var attacked = []uint16{22, 23, 135, 139, 445, 1433, 2323, 3306, 3389, 5555, 5985, 6379}

// known are ports of peers that are everyday: calls, private networks, time, names.
var known = []uint16{1194, 1900, 3478, 3479, 3480, 3481, 3702, 4500, 5349, 5350, 5351, 5353, 5355, 8080, 8443, 9993, 19302, 19305, 41641, 51820}

// kindOf says what a flow is to its source.
func kindOf(f *sdk.Flow) kind {
	switch f.App {
	case "irc":
		return ofChat
	case "stratum":
		return ofPool
	case "monero":
		return ofCurrency
	}
	switch {
	case f.Proto == sdk.ProtoTCP && slices.Contains(attacked, f.DstPort):
		return ofSpread
	case f.App == "" && f.DstPort >= 1024 && (f.Proto == sdk.ProtoTCP || f.Proto == sdk.ProtoUDP) &&
		f.FwdPayload > 0 && f.RevPayload > 0 && f.FwdPayload <= shortExchange && f.FwdPackets <= fewPackets &&
		outside(f.Dst) && !outside(f.Src) && !slices.Contains(known, f.DstPort):
		return ofPeers
	case heartbeat(f):
		return ofHeartbeat
	}
	return kinds
}

// A heartbeat goes on for beats times its longest pause, says little at a time, and is hardly answered.
const (
	beats        = 20
	longestPause = 60.0 // seconds
	beatsLast    = 2 * time.Minute
	beatPackets  = 40
	beatLength   = 300.0 // bytes of a packet, in the mean
	beatAnswers  = 4     // the server says so many times less
)

// heartbeat reports whether a program keeps a connection on an unusual port outside, in which no parser knows what is said, only to tell
// that it is there.
func heartbeat(f *sdk.Flow) bool {
	return f.App == "" && f.Proto == sdk.ProtoTCP && f.DstPort >= 1024 && f.FwdPackets >= beatPackets &&
		f.FwdPayload > 0 && f.FwdPayload >= beatAnswers*f.RevPayload && f.FwdLenMean <= beatLength &&
		f.IATMax > 0 && f.IATMax <= longestPause && f.Duration() >= beatsLast && f.Duration().Seconds() >= beats*f.IATMax &&
		f.FwdFirstFlags&sdk.FlagSYN != 0 && f.RevFlags&sdk.FlagSYN != 0 &&
		outside(f.Dst) && !outside(f.Src) && !slices.Contains(known, f.DstPort)
}

func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	k := kindOf(f)
	if k == kinds || f.FwdPackets == 0 || len(d.ignore) > 0 && d.ignored(f.Src, f.Dst) {
		return nil
	}
	failed := f.RevPayload == 0 && f.FwdPayload == 0
	if k != ofSpread && failed {
		return nil
	}
	key := fanKey{src: bare.Of(f.Src), port: f.DstPort, proto: f.Proto, kind: k}
	switch k {
	case ofChat, ofPool, ofHeartbeat:
		key.dst = bare.Of(f.Dst)
	case ofCurrency:
		key.port = 0
	}
	at := f.Start.UnixNano()
	one, known := d.fans.Get(key)
	if known && at-one.begin > k.window() {
		if err := d.lastOfFan(one, sink); err != nil {
			return err
		}
		*one = fan{fanKey: key, begin: at}
	}
	if !known {
		if old, full := d.fans.Crowded(); full {
			if err := d.lastOfFan(old, sink); err != nil {
				return err
			}
			d.fans.Forget(old.fanKey)
		}
		one = &fan{fanKey: key, begin: at}
		d.fans.Put(key, one)
	}
	if !one.add(f, failed) {
		return nil
	}
	return d.judgeFan(one, sink)
}

// add counts a flow; false when it is one more to the same host.
func (o *fan) add(f *sdk.Flow, failed bool) bool {
	addr := f.Dst.As16()
	units := o.hosts.Add(uint32(hash(string(addr[:]))))
	if units == 0 && o.dst == (bare.Addr{}) {
		return false
	}
	o.nHosts += units
	o.flows++
	if failed {
		o.failed++
	} else {
		o.sizes.add(f.FwdPayload)
		net := addr[:6]
		if f.Dst.Is4() {
			net = addr[12:14]
		}
		o.nNets += o.nets.Add(uint32(hash(string(net))))
	}
	var packet uint64
	if len(f.Packets) > 0 {
		packet = f.Packets[0]
	}
	o.Add(f.Start.UnixNano(), packet, flowref.Ref{})
	if len(o.refs) < maxFlows {
		o.refs = append(o.refs, to{bare.Of(f.Dst), flowref.Of(f)})
	}
	return true
}

// window is how long what a host does counts together.
func (k kind) window() int64 {
	if k == ofPeers || k == ofSpread {
		return hour
	}
	return 24 * hour
}

// judgeFan reports a fan that is large enough, and again when it has doubled.
func (d *Detector) judgeFan(o *fan, sink sdk.FindingSink) error {
	if o.flows < 2*o.told || !d.found(o) {
		return nil
	}
	o.told = o.flows
	return sink.Finding(d.ofFan(o))
}

func (d *Detector) lastOfFan(o *fan, sink sdk.FindingSink) error {
	if o.told == 0 || o.told == o.flows {
		return nil
	}
	o.told = o.flows
	return sink.Finding(d.ofFan(o))
}

func (d *Detector) found(o *fan) bool {
	switch o.kind {
	case ofPeers:
		hosts := o.nHosts / sketch.Unit
		return hosts >= uint64(d.cfg.Peers) && 3*o.nNets >= fewNets*o.nHosts && 10*o.sizes.most() >= 8*o.flows
	case ofSpread:
		i := slices.Index(o.sizes.count[:], o.sizes.most())
		return o.failed >= failures && o.sizes.count[i] >= exploits && o.sizes.size[i] >= smallestExploit
	}
	return true
}
