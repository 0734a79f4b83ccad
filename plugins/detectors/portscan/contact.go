package portscan

import (
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/sdk"
)

// target is what a scanner looks at: a port of a host. For ICMP the port is the type of the request.
type target struct {
	host  bare.Addr
	proto uint8
	port  uint16
}

// class is the protocols whose targets are judged together.
type class uint8

const (
	tcpClass class = iota
	udpClass
	pingClass
	classes
)

func classOf(proto uint8) class {
	switch proto {
	case sdk.ProtoTCP:
		return tcpClass
	case sdk.ProtoUDP:
		return udpClass
	}
	return pingClass
}

// verdict says how a contact went. A larger one replaces a smaller one for the same target: an open port stays open
// however often it was probed before.
type verdict uint8

const (
	failed verdict = iota // refused, or nobody answered
	probed                // answered, but not used: a half-open scan, a connect scan, a health check
	used                  // data went over it
)

// probe is the kind of scan that a contact would belong to.
type probe uint8

const (
	probeSYN probe = iota
	probeConnect
	probeNULL
	probeFIN
	probeXMAS
	probeACK
	probeUDP
	probeICMP
	probeKinds
)

var probeNames = [probeKinds]string{"SYN", "connect", "NULL", "FIN", "XMAS", "ACK", "UDP", "ping"}

// contact is what one flow tells about one target.
type contact struct {
	target  target
	verdict verdict
	probe   probe
	small   bool // the datagrams are no larger than a scanner's
}

// read makes c, which is new, what a flow tells; false when it is no attempt of its source to reach something, or when it shows
// nothing.
func (c *contact) read(f *sdk.Flow) bool {
	// The initiator sent nothing: these are answers to packets that somebody forged in its name (backscatter), or the other
	// half of an asymmetric route.
	if f.FwdPackets == 0 {
		return false
	}
	c.target.host.Set(f.Dst)
	c.target.port, c.target.proto = f.DstPort, f.Proto
	switch f.Proto {
	case sdk.ProtoTCP:
		return c.readTCP(f)
	case sdk.ProtoUDP:
		return c.readUDP(f)
	case sdk.ProtoICMP, sdk.ProtoICMPv6:
		return c.readICMP(f)
	}
	return false
}

func (c *contact) readTCP(f *sdk.Flow) bool {
	const syn, ack, rst, fin = sdk.FlagSYN, sdk.FlagACK, sdk.FlagRST, sdk.FlagFIN
	const psh, urg = sdk.FlagPSH, sdk.FlagURG
	first := f.FwdFirstFlags
	switch {
	case f.FwdPayload > 0:
		c.verdict = used
	case first&(syn|ack) == syn:
		c.verdict, c.probe = afterSYN(f)
	case first&rst != 0:
		return false // a reset answers something that was not seen
	case first&ack == 0:
		// No connection has such a packet, whatever came back.
		switch first & (fin | psh | urg) {
		case 0:
			c.probe = probeNULL
		case fin:
			c.probe = probeFIN
		default:
			c.probe = probeXMAS
		}
	case first&(syn|fin) == 0 && f.FwdPackets <= 2 && f.RevPackets > 0 && f.RevFlags&^ack == rst:
		c.probe = probeACK
	default:
		return false // the middle of a connection
	}
	return true
}

// afterSYN tells what became of a connection attempt that carried no data of its source.
func afterSYN(f *sdk.Flow) (verdict, probe) {
	switch {
	case f.RevFlags&sdk.FlagSYN == 0:
		return failed, probeSYN
	case f.FwdFlags&sdk.FlagACK == 0:
		return probed, probeSYN // answered, never completed
	}
	return probed, probeConnect
}

const (
	// maxProbe is how many datagrams a scanner sends to one port without an answer: a probe and its repetitions. More is a
	// one-way stream.
	maxProbe = 3
	// smallProbe is the payload that a probe has at most: it asks a question, and the classic limit of DNS is generous for
	// one. The first datagrams of QUIC and of media streams are larger.
	smallProbe = 512
)

func (c *contact) readUDP(f *sdk.Flow) bool {
	c.probe = probeUDP
	c.small = f.FwdPayload <= smallProbe*f.FwdPackets
	switch {
	case f.RevPackets > 0:
		c.verdict = used
	case f.FwdPackets > maxProbe || toMany(f.Dst):
		return false
	}
	return true
}

// toMany reports whether an address stands for many hosts, so that silence means nothing. A last byte of 255 is taken for
// a directed broadcast: flows do not show the netmask.
func toMany(a netip.Addr) bool {
	if a.IsMulticast() {
		return true
	}
	return a.Is4() && a.As4()[3] == 255
}

func (c *contact) readICMP(f *sdk.Flow) bool {
	v4 := f.Proto == sdk.ProtoICMP
	switch {
	case v4 && (f.SrcPort == 8 || f.SrcPort == 13 || f.SrcPort == 17), !v4 && f.SrcPort == 128 && !f.Dst.IsMulticast():
		c.target.port, c.probe = f.SrcPort, probeICMP
		if f.RevPackets > 0 {
			c.verdict = used
		}
		return true
	}
	return false
}

// unreachable reads an ICMP error that tells the sender of a datagram that nobody takes it.
func unreachable(f *sdk.Flow) (from, to netip.Addr, ok bool) {
	if f.Proto == sdk.ProtoICMP && f.SrcPort == 3 || f.Proto == sdk.ProtoICMPv6 && f.SrcPort == 1 {
		return f.Src, f.Dst, true
	}
	return from, to, false
}

// prefixes are the sources that may scan.
type prefixes []netip.Prefix

func parsePrefixes(texts []string) (prefixes, error) {
	var out prefixes
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (p prefixes) contain(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}
