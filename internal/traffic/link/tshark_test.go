package link_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/link"
)

// number reads one of tshark's in any base, and gives it in base ten.
func number(s string) string {
	n, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return s
	}
	return strconv.FormatUint(n, 10)
}

// comparison is a protocol in some captures, how its facts are written in a line, and the fields in which tshark has the same.
type comparison struct {
	name   string
	files  []string
	least  int
	filter string
	fields []string
	line   func(body any) string
}

var comparisons = []comparison{
	{
		name: link.NameARP, files: []string{"atk-arp__chrissanders__arppoison.pcapng", "atk-arpscan__zeek__nmap-vsn.pcap"}, least: 40,
		filter: "arp", fields: []string{"arp.opcode", "eth.src", "arp.src.hw_mac", "arp.src.proto_ipv4", "arp.dst.proto_ipv4"},
		line: func(body any) string {
			m := body.(*link.ARP)
			return fmt.Sprint(m.Operation, " ", m.Source, " ", m.Sender, " ", m.SenderIP, " ", m.TargetIP)
		},
	},
	{
		name: link.NameLLDP, files: []string{"disc-lldp__thetcpdumpgroup__LLDP_and_CDP.pcap", "disc-lldp__zeek__lldp.pcap"}, least: 3,
		filter: "lldp", fields: []string{"lldp.chassis.id.mac", "lldp.tlv.system.name", "lldp.port.desc", "lldp.time_to_live", "lldp.tlv.system_cap", "lldp.tlv.enable_system_cap"},
		line: func(body any) string {
			m := body.(*link.LLDP)
			return fmt.Sprint(m.ChassisMAC, " ", m.Name, " ", m.PortText, " ", m.TTL, " ", m.Capabilities, " ", m.Enabled)
		},
	},
	{
		name: link.NameCDP, files: []string{"disc-lldp__thetcpdumpgroup__LLDP_and_CDP.pcap", "disc-cdp__thetcpdumpgroup__3560_CDP.pcap"}, least: 3,
		filter: "cdp", fields: []string{"cdp.version", "cdp.ttl", "cdp.deviceid", "cdp.portid", "cdp.platform", "cdp.native_vlan", "cdp.capabilities", "cdp.vtp_management_domain"},
		line: func(body any) string {
			m := body.(*link.CDP)
			return fmt.Sprint(m.Version, " ", m.TTL, " ", m.Device, " ", m.Port, " ", m.Platform, " ", m.VLAN, " ", m.Capabilities, " ", m.Domain)
		},
	},
	{
		name: link.NameSTP, files: []string{"disc-stp__thetcpdumpgroup__802.1w_rapid_STP.pcap"}, least: 30,
		filter: "stp", fields: []string{"stp.version", "stp.type", "stp.flags", "stp.root.hw", "stp.root.cost", "stp.bridge.hw", "stp.port"},
		line: func(body any) string {
			m := body.(*link.STP)
			return fmt.Sprint(m.Version, " ", m.Kind, " ", m.Flags, " ", m.Root, " ", m.Cost, " ", m.Bridge, " ", m.Port)
		},
	},
	{
		name: link.NameDCP, files: []string{"ot-profinet__ITI__ChangeIPUsingDCP.pcap"}, least: 4,
		filter: "pn_dcp", fields: []string{"pn_dcp.service_id", "pn_dcp.xid", "pn_dcp.suboption_device_nameofstation", "pn_dcp.suboption_vendor_id", "pn_dcp.suboption_device_id", "pn_dcp.suboption_ip_ip", "eth.dst"},
		line: func(body any) string {
			m := body.(*link.DCP)
			empty := func(n uint16) string {
				if n == 0 {
					return ""
				}
				return fmt.Sprint(n)
			}
			ip := ""
			if m.IP.IsValid() {
				ip = m.IP.String()
			}
			return fmt.Sprint(m.Service, " ", m.XID, " ", m.Station, " ", empty(m.VendorID), " ", empty(m.DeviceID), " ", ip, " ", m.Target)
		},
	},
	{
		name: link.NameICMP, files: []string{"atk-sweep__stratosphereips__test12-icmp-portscan.pcap", "atk-scan__markofu__UDP_SCAN.pcap", "atk-icmptunnel__ntop__icmp-tunnel.pcap"}, least: 1000,
		filter: "icmp", fields: []string{"icmp.type", "icmp.code", "icmp.ident", "icmp.seq"},
		line: func(body any) string {
			m := body.(*link.ICMP)
			if m.Name == "echo-request" || m.Name == "echo-reply" {
				return fmt.Sprint(m.Type, " ", m.Code, " ", m.ID, " ", m.Sequence)
			}
			return fmt.Sprint(m.Type, " ", m.Code, "  ")
		},
	},
	{
		name: link.NameNDP, files: []string{"ip6-frag__OISF__frag-1.pcap", "ip6-frag__chrissanders__ipv6_fragments.pcapng", "enc-gtp__zeek__gtp7_ipv6.pcap"}, least: 6,
		filter: "icmpv6.type >= 133 && icmpv6.type <= 137", fields: []string{"icmpv6.type", "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "icmpv6.opt.linkaddr"},
		line: func(body any) string {
			m := body.(*link.NDP)
			request, reply, address := "", "", m.Sender.String()+m.Target.String()
			switch m.Name {
			case "request":
				request = m.TargetIP.String()
			case "reply":
				reply = m.TargetIP.String()
			}
			return fmt.Sprint(m.Type, " ", request, " ", reply, " ", address)
		},
	},
	{
		name: link.NameIGMP, files: []string{"atk-beacon__jstrosch__9c727dc787a39ab9b922995de8c1ad99.pcap", "benign-dns__zeek__mdns.pcap"}, least: 10,
		filter: "igmp", fields: []string{"igmp.type", "igmp.maddr"},
		line: func(body any) string {
			m := body.(*link.IGMP)
			groups := make([]string, 0, len(m.Groups))
			for _, g := range m.Groups {
				groups = append(groups, g.String())
			}
			return fmt.Sprint(m.Type, " ", strings.Join(groups, ","))
		},
	},
}

func TestAgreesWithTshark(t *testing.T) {
	for _, c := range comparisons {
		t.Run(c.name, func(t *testing.T) {
			compared := 0
			for _, file := range c.files {
				path := apptest.Shared(t, file)
				var have, want []string
				apptest.Run(t, path, link.Protocols(), func(f *app.Fact) {
					if f.Protocol == c.name {
						have = append(have, fmt.Sprint(f.Flow.Packet, " ", c.line(f.Body)))
					}
				})
				for _, row := range apptest.Tshark(t, path, c.filter, append([]string{"frame.number"}, c.fields...)...) {
					var line []string
					for _, field := range row {
						for i := range field {
							field[i] = number(field[i])
						}
						line = append(line, strings.Join(field, ","))
					}
					want = append(want, strings.Join(line, " "))
				}
				if !slices.Equal(have, want) {
					t.Errorf("%s: have %d\n%s\nwant %d\n%s", file, len(have), strings.Join(have[:min(9, len(have))], "\n"), len(want), strings.Join(want[:min(9, len(want))], "\n"))
				}
				compared += len(want)
			}
			if t.Log(compared, "compared"); compared < c.least {
				t.Errorf("only %d compared", compared)
			}
		})
	}
}
