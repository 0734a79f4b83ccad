package facts

import (
	"strconv"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dhcp"
	"github.com/picketwatch/picket/internal/traffic/link"
	"github.com/picketwatch/picket/sdk"
)

func (m *Maker) takeARP(f *app.Fact, b *link.ARP) {
	if !m.wants(f.Flow, &m.arp.share) {
		return
	}
	m.texts.reset()
	m.arp.row = sdk.ARP{
		Seen: seen(f), Protocol: f.Protocol, Operation: operation(b.Operation), SourceMAC: m.texts.mac(b.Source),
		SenderMAC: m.texts.mac(b.Sender), SenderIP: b.SenderIP, TargetMAC: m.texts.mac(b.Target), TargetIP: b.TargetIP,
		Announce: b.Announce, Probe: b.Probe,
	}
	m.arp.add(&m.arp.row)
}

func operation(n uint16) string {
	switch n {
	case 1:
		return "request"
	case 2:
		return "reply"
	}
	return strconv.Itoa(int(n))
}

func (m *Maker) takeNDP(f *app.Fact, b *link.NDP) {
	if !m.wants(f.Flow, &m.arp.share) {
		return
	}
	m.texts.reset()
	m.arp.row = sdk.ARP{
		Seen: seen(f), Protocol: f.Protocol, Operation: b.Name, SourceMAC: m.texts.mac(b.Source),
		SenderMAC: m.texts.mac(b.Sender), SenderIP: b.SenderIP, TargetMAC: m.texts.mac(b.Target), TargetIP: b.TargetIP,
		Announce: b.Announce, Probe: b.Probe, Router: b.Router,
	}
	m.arp.add(&m.arp.row)
}

var dhcpNames = [...]string{"bootp", "discover", "offer", "request", "decline", "ack", "nak", "release", "inform"}

func (m *Maker) takeDHCP(f *app.Fact, b *dhcp.Message) {
	if !m.wants(f.Flow, &m.dhcp.share) {
		return
	}
	r := &m.dhcp.row
	*r = sdk.DHCP{
		Seen: seen(f), Version: 4, Type: b.Type, Name: named(dhcpNames[:], int(b.Type)), Reply: b.Reply, XID: b.XID,
		ClientAddr: b.Client, YourAddr: b.Your, ServerAddr: b.Server, Relay: b.Relay, Requested: b.Requested, Mask: b.Mask,
		Routers: appendAddrs(r.Routers[:0], b.Routers), DNSServers: appendAddrs(r.DNSServers[:0], b.DNS), Lease: b.Lease,
		Hostname: cut(b.Hostname), Domain: cut(b.Domain), FQDN: cut(b.FQDN), VendorClass: cut(b.VendorClass),
		Parameters: append(r.Parameters[:0], b.Parameters...), ClientID: append(r.ClientID[:0], b.ClientID...), Damaged: b.Damaged,
	}
	if b.Hardware != [6]byte{} {
		r.MAC = mac(b.Hardware[:])
	}
	m.dhcp.add(r)
}

func (m *Maker) takeDHCPv6(f *app.Fact, b *dhcp.Message6) {
	if !m.wants(f.Flow, &m.dhcp.share) {
		return
	}
	r := &m.dhcp.row
	*r = sdk.DHCP{
		Seen: seen(f), Version: 6, Type: b.Type, Name: b.Name, Reply: b.Reply, XID: b.XID, ClientAddr: b.Peer, Relay: b.Relay,
		Routers: r.Routers[:0], DNSServers: appendAddrs(r.DNSServers[:0], b.DNS), Lease: b.Lease,
		FQDN: cut(b.FQDN), VendorClass: cut(b.VendorClass), Parameters: r.Parameters[:0], ClientID: append(r.ClientID[:0], b.ClientID...),
		Damaged: b.Damaged,
	}
	if len(b.Addrs) > 0 && b.Reply {
		r.YourAddr = b.Addrs[0]
	} else if len(b.Addrs) > 0 {
		r.Requested = b.Addrs[0]
	}
	if len(b.Domains) > 0 {
		r.Domain = cut(b.Domains[0])
	}
	for _, p := range b.Parameters { // options of version 6 have 16 bits
		r.Parameters = append(r.Parameters, byte(p>>8), byte(p))
	}
	if b.Hardware != [6]byte{} {
		r.MAC = mac(b.Hardware[:])
	}
	m.dhcp.add(r)
}
