package api

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// FlowFilterQuery are the parameters that narrow flows.
type FlowFilterQuery struct {
	Capture []string  `query:"capture" maxItems:"100" doc:"Ids of captures."`
	From    time.Time `query:"from" doc:"RFC 3339; flows that began then or later."`
	To      time.Time `query:"to" doc:"RFC 3339; flows that began before."`

	Host    string `query:"host" maxLength:"64" doc:"An address or a network (CIDR) on either side." example:"10.0.0.0/8"`
	Src     string `query:"src" maxLength:"64" doc:"An address or a network of the side that began."`
	Dst     string `query:"dst" maxLength:"64" doc:"An address or a network of the side that was asked."`
	Port    int    `query:"port" minimum:"1" maximum:"65535" doc:"On either side."`
	SrcPort int    `query:"src_port" minimum:"1" maximum:"65535"`
	DstPort int    `query:"dst_port" minimum:"1" maximum:"65535"`

	Proto  []string `query:"proto" maxItems:"16" doc:"tcp, udp, icmp, icmpv6, or a number as in the IP header."`
	App    []string `query:"app" maxItems:"64" doc:"Application protocols; none is a flow whose protocol is not known." example:"tls"`
	Tunnel []string `query:"tunnel" maxItems:"16" doc:"Kinds of tunnels; none is a flow outside any." example:"vxlan"`
	VLAN   int      `query:"vlan" minimum:"1" maximum:"4095"`
	End    []string `query:"end_reason" maxItems:"8" doc:"fin, rst, idle, active, eviction or end."`

	MinBytes    uint64 `query:"min_bytes" doc:"Of both directions."`
	MaxBytes    uint64 `query:"max_bytes"`
	MinPackets  uint64 `query:"min_packets"`
	MaxPackets  uint64 `query:"max_packets"`
	MinDuration string `query:"min_duration" maxLength:"20" doc:"A time span such as 10s."`
	MaxDuration string `query:"max_duration" maxLength:"20"`

	Text string `query:"text" maxLength:"200" doc:"A part of a name in what the flow said: a server name, a host, a name that was asked for."`
}

// none is how an empty text is written in an address.
const none = "none"

func (q *FlowFilterQuery) filter() (f store.FlowFilter, err error) {
	f = store.FlowFilter{Captures: q.Capture, From: q.From, To: q.To, Port: uint16(q.Port), SrcPort: uint16(q.SrcPort), DstPort: uint16(q.DstPort), //nolint:gosec // bounded by the schema
		Apps: orNone(q.App), Tunnels: orNone(q.Tunnel), VLAN: uint16(q.VLAN), //nolint:gosec // as above
		MinBytes: q.MinBytes, MaxBytes: q.MaxBytes, MinPackets: q.MinPackets, MaxPackets: q.MaxPackets, Text: q.Text}
	for _, p := range []struct {
		name, text string
		into       *netip.Prefix
	}{{"host", q.Host, &f.Host}, {"src", q.Src, &f.Src}, {"dst", q.Dst, &f.Dst}} {
		if *p.into, err = network("query."+p.name, p.text); err != nil {
			return f, err
		}
	}
	for _, d := range []struct {
		name, text string
		into       *time.Duration
	}{{"min_duration", q.MinDuration, &f.MinDuration}, {"max_duration", q.MaxDuration, &f.MaxDuration}} {
		if d.text == "" {
			continue
		}
		if *d.into, err = time.ParseDuration(d.text); err != nil || *d.into < 0 {
			return f, invalidField("query."+d.name, "is not a time span such as 1.5s or 10m")
		}
	}
	if f.Protos, err = protocols(q.Proto); err != nil {
		return f, err
	}
	if f.Reasons, err = endReasons(q.End); err != nil {
		return f, err
	}
	if !q.From.IsZero() && !q.To.IsZero() && !q.From.Before(q.To) {
		return f, invalidField("query.from", "must lie before to")
	}
	return f, nil
}

func orNone(words []string) []string {
	out := slices.Clone(words)
	for i, w := range out {
		if w == none {
			out[i] = ""
		}
	}
	return out
}

// network reads an address or a network; an IPv4 address that is written as an IPv6 one is that IPv4 address.
func network(where, text string) (netip.Prefix, error) {
	if text == "" {
		return netip.Prefix{}, nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, invalidField(where, "is not an address or a network such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32")
	}
	return p.Masked(), nil
}

func protocols(words []string) ([]uint8, error) {
	var out []uint8
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 8)
		for _, known := range []uint8{sdk.ProtoICMP, sdk.ProtoTCP, sdk.ProtoUDP, sdk.ProtoICMPv6} {
			if strings.EqualFold(w, sdk.ProtoName(known)) {
				n, err = uint64(known), nil
			}
		}
		if err != nil {
			return nil, invalidField("query.proto", "is not tcp, udp, icmp, icmpv6 or a number below 256")
		}
		out = append(out, uint8(n))
	}
	return out, nil
}

func endReasons(words []string) ([]sdk.EndReason, error) {
	var out []sdk.EndReason
	for _, w := range words {
		found := false
		for r := sdk.EndNone; r <= sdk.EndCapture; r++ {
			if w == r.String() {
				out, found = append(out, r), true
			}
		}
		if !found {
			return nil, invalidField("query.end_reason", "is not fin, rst, idle, active, eviction or end")
		}
	}
	return out, nil
}
