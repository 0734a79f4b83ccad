package passive

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/passive") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/passive"), sdktest.Options{Config: []byte(`{}`)})
}

// observed is an observer, and what it reported as lines.
type observed struct {
	t     *testing.T
	inst  *Observer
	lines []string
}

func observe(t *testing.T, config string) *observed {
	t.Helper()
	o := &observed{t: t, inst: New()}
	plugintest.Configure(t, o.inst, config)
	if err := o.inst.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *observed) Sighting(s sdk.Sighting) error {
	line := []string{s.Source, s.IP.String(), s.MAC, s.Hostname, fmt.Sprint(s.Confidence)}
	for _, name := range slices.Sorted(maps.Keys(s.Facts)) {
		line = append(line, name+"="+s.Facts[name])
	}
	o.lines = append(o.lines, strings.Join(line, "|"))
	return nil
}

func (o *observed) batch(b sdk.Batch) []string {
	o.t.Helper()
	o.lines = nil
	if err := o.inst.Observe(o.t.Context(), b, o); err != nil {
		o.t.Fatal(err)
	}
	return o.lines
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(client, server string, proto uint8, port uint16, fromServer bool) sdk.Seen {
	s := sdk.Seen{Packet: 5, Time: start, Proto: proto, ServerPort: port, FromServer: fromServer}
	if client != "" {
		s.Client, s.Server = netip.MustParseAddr(client), netip.MustParseAddr(server)
	}
	return s
}

func message(seen sdk.Seen, protocol, name string, response bool, fields ...string) sdk.Batch {
	m := sdk.Message{Seen: seen, Protocol: protocol, Name: name, Response: response, Fields: map[string]string{}}
	for i := 0; i < len(fields); i += 2 {
		m.Fields[fields[i]] = fields[i+1]
	}
	return sdk.Batch{Messages: []sdk.Message{m}}
}

func answers(r sdk.DNS, records ...string) sdk.Batch {
	numbers := map[string]uint64{"A": typeA, "AAAA": typeAAAA, "PTR": typePTR, "TXT": typeTXT, "SRV": typeSRV}
	r.Response = true
	for i := 0; i < len(records); i += 3 {
		r.AnswerNames, r.AnswerTypes, r.Answers = append(r.AnswerNames, records[i]), append(r.AnswerTypes, numbers[records[i+1]]), append(r.Answers, records[i+2])
	}
	return sdk.Batch{DNS: []sdk.DNS{r}}
}

var (
	ip   = netip.MustParseAddr
	mdns = at("192.168.1.5", "224.0.0.251", sdk.ProtoUDP, 5353, false)
	link = at("", "", 0, 0, false)
	web  = at("192.168.1.5", "10.0.0.9", sdk.ProtoTCP, 443, false)
	back = at("192.168.1.5", "10.0.0.9", sdk.ProtoTCP, 443, true)
)

func TestWhatIsLearned(t *testing.T) {
	for name, c := range map[string]struct {
		batch sdk.Batch
		want  []string
	}{
		"arp": {
			sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "reply", SourceMAC: "02:00:00:00:00:01", SenderMAC: "02:00:00:00:00:01", SenderIP: ip("192.0.2.1")}}},
			[]string{"arp|192.0.2.1|02:00:00:00:00:01||0.95"},
		},
		"arp for another": {
			sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "reply", SourceMAC: "02:00:00:00:00:09", SenderMAC: "02:00:00:00:00:01", SenderIP: ip("192.0.2.1")}}},
			[]string{"arp|192.0.2.1|02:00:00:00:00:01||0.4"},
		},
		"arp probe": {sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "arp", Operation: "request", Probe: true, SenderMAC: "02:00:00:00:00:01", SenderIP: ip("0.0.0.0")}}}, nil},
		"ndp": {
			sdk.Batch{ARP: []sdk.ARP{{Seen: link, Protocol: "ndp", Operation: "reply", TargetMAC: "02:00:00:00:00:01", TargetIP: ip("fe80::1"), SenderIP: ip("fe80::1"), Router: true}}},
			[]string{"ndp|fe80::1|02:00:00:00:00:01||0.95|role=router"},
		},
		"dhcp request": {
			sdk.Batch{DHCP: []sdk.DHCP{{Seen: at("0.0.0.0", "255.255.255.255", 17, 67, false), Version: 4, Name: "request", MAC: "02:00:00:00:00:01", ClientAddr: ip("0.0.0.0"), Hostname: "pc", VendorClass: "MSFT 5.0", Parameters: []byte{1, 3, 6}}}},
			[]string{"dhcp|invalid IP|02:00:00:00:00:01|pc|0.85|dhcp_fingerprint=1,3,6|dhcp_vendor_class=MSFT 5.0|os=windows"},
		},
		"dhcp ack": {
			sdk.Batch{DHCP: []sdk.DHCP{{Seen: at("0.0.0.0", "192.0.2.1", 17, 67, true), Version: 4, Reply: true, MAC: "02:00:00:00:00:01", YourAddr: ip("192.0.2.7"), ServerAddr: ip("192.0.2.1"), Routers: []string{"192.0.2.254"}}}},
			[]string{"dhcp|192.0.2.1|||0.85|services=dhcp", "dhcp|192.0.2.254|||0.6|role=router", "dhcp|192.0.2.7|02:00:00:00:00:01||0.85"},
		},
		"dhcpv6": {
			sdk.Batch{DHCP: []sdk.DHCP{{Seen: at("fe80::7", "ff02::1:2", 17, 547, false), Version: 6, MAC: "02:00:00:00:00:01", FQDN: "pc.example"}}},
			[]string{"dhcpv6|fe80::7|02:00:00:00:00:01|pc.example|0.85"},
		},
		"mdns": {
			answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, "_ipp._tcp.local", "PTR", `Front\032Desk._ipp._tcp.local`, `Front\032Desk._ipp._tcp.local`, "SRV", "0 0 631 desk.local",
				`Front\032Desk._ipp._tcp.local`, "TXT", `"txtvers=1" "ty=Laser 9" "usb_MFG=HP"`, "desk.local", "A", "192.168.1.5"),
			[]string{
				"mdns|192.168.1.5|||0.85|role=printer|services=_ipp._tcp", "mdns|192.168.1.5|||0.85|ports=631/tcp",
				"mdns|192.168.1.5||desk|0.85|link_name=desk",
				"mdns|192.168.1.5||desk|0.85|model=Laser 9|vendor=HP",
			},
		},
		"mdns name": {
			answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, `Bob's\032Mac._device-info._tcp.local`, "TXT", `"model=Mac7"`, "box [02:00:00:00:00:01]._workstation._tcp.local", "SRV", "0 0 9 box.local",
				"0200@Den._raop._tcp.local", "SRV", "0 0 5000 box.local"),
			[]string{
				"mdns|192.168.1.5|||0.85|name=Bob's Mac|services=_device-info._tcp",
				"mdns|192.168.1.5|02:00:00:00:00:01|box|0.85|services=_device-info._tcp _workstation._tcp",
				"mdns|192.168.1.5|||0.85|ports=5000/tcp|services=_device-info._tcp _raop._tcp _workstation._tcp",
				"mdns|192.168.1.5||box|0.85|model=Mac7",
			},
		},
		"mdns probe": {
			sdk.Batch{DNS: []sdk.DNS{{Seen: mdns, Protocol: "mdns", Query: "desk.local", QType: typeANY, AuthorityCount: 1}}}, []string{"mdns|192.168.1.5||desk|0.6"},
		},
		"mdns question": {sdk.Batch{DNS: []sdk.DNS{{Seen: mdns, Protocol: "mdns", Query: "_ipp._tcp.local", QType: typePTR}}}, []string{"mdns|192.168.1.5|||0.6"}},
		"llmnr": {
			answers(sdk.DNS{Seen: at("192.168.1.4", "192.168.1.5", 17, 5355, true), Protocol: "llmnr"}, "HS", "A", "192.168.1.5"),
			[]string{"llmnr|192.168.1.5||HS|0.85"},
		},
		"dns server":          {answers(sdk.DNS{Seen: at("192.168.1.4", "192.168.1.1", 17, 53, true), Protocol: "dns"}, "a.example", "A", "192.168.1.77"), []string{"dns|192.168.1.1|||0.95|ports=53/udp|services=dns"}},
		"dns of the internet": {answers(sdk.DNS{Seen: at("192.168.1.4", "8.8.8.8", 17, 53, true), Protocol: "dns"}, "a.example", "A", "192.168.1.77"), nil},
		"tls": {
			sdk.Batch{TLS: []sdk.TLS{{Seen: web, Protocol: "tls", Version: 0x303, Subject: "CN=nas", Names: []string{"nas.lan", "nas"}}}},
			[]string{"tls|10.0.0.9|||0.95|ports=443/tcp|services=tls|tls_names=nas.lan nas|tls_subject=CN=nas"},
		},
		"http": {
			sdk.Batch{HTTP: []sdk.HTTP{{Seen: web, UserAgent: "Mozilla/5.0 (Windows NT 10.0)", Status: 200, Software: "Synology/7"}}},
			[]string{
				"http|192.168.1.5|||0.6|http_user_agent=Mozilla/5.0 (Windows NT 10.0)|os=windows",
				"http|10.0.0.9|||0.95|http_server=Synology/7|os=linux|ports=443/tcp|role=nas|services=http|vendor=Synology",
			},
		},
		"smb": {sdk.Batch{SMB: []sdk.SMB{{Seen: web, Host: "PC", Domain: "CORP", User: "alice"}}}, []string{"smb|192.168.1.5||PC|0.6|domain=CORP"}},
		"modbus": {
			sdk.Batch{OT: []sdk.OT{{Seen: back, Protocol: "modbus", Response: true, Details: map[string]string{"vendor": "Acme", "product_name": "P1", "unit_x": "no"}}}},
			[]string{"modbus|10.0.0.9|||0.95|model=P1|ports=443/tcp|role=plc|services=modbus|vendor=Acme"},
		},
		"enip": {
			sdk.Batch{OT: []sdk.OT{{Seen: back, Protocol: "enip", Response: true, Details: map[string]string{"vendor": "1", "product_name": "1756-L61", "revision": "20.11"}}}},
			[]string{"enip|10.0.0.9|||0.95|firmware=20.11|model=1756-L61|ot_vendor_id=1|ports=443/tcp|role=plc|services=enip"},
		},
		"profinet": {
			sdk.Batch{OT: []sdk.OT{{Seen: link, Protocol: "profinet-dcp", Response: true, Details: map[string]string{"source": "02:00:00:00:00:01", "station": "press", "ip": "192.168.0.6", "vendor_id": "42"}}}},
			[]string{"profinet-dcp|192.168.0.6|02:00:00:00:00:01|press|0.85|ot_station=press|ot_vendor_id=42|services=profinet"},
		},
		"lldp": {
			message(link, "lldp", "announcement", false, "source", "02:00:00:00:00:01", "name", "sw1", "addrs", "192.0.2.9, 192.0.2.10", "enabled", "4", "port", "g1", "description", "Linux box"),
			[]string{"lldp|192.0.2.9|02:00:00:00:00:01|sw1|0.85|description=Linux box|lldp_port=g1|os=linux|role=switch"},
		},
		"cdp": {
			message(link, "cdp", "announcement", false, "source", "02:00:00:00:00:01", "device", "S1", "addrs", "0.0.0.0", "capabilities", "40", "port", "Fa0", "platform", "cisco WS-C3560",
				"software", "Cisco IOS Software, Version 12.2(44)SE, RELEASE\nCopyright"),
			[]string{"cdp|invalid IP|02:00:00:00:00:01|S1|0.85|cdp_port=Fa0|description=Cisco IOS Software, Version 12.2(44)SE, RELEASE Copyright|firmware=12.2(44)SE|model=WS-C3560|os=cisco-ios|role=switch|vendor=Cisco"},
		},
		"stp": {
			message(link, "stp", "bridge", false, "bridge", "02:00:00:00:00:02", "source", "02:00:00:00:00:03", "root", "02:00:00:00:00:04"),
			[]string{"stp|invalid IP|02:00:00:00:00:02||0.95|role=switch|stp_root=02:00:00:00:00:04"},
		},
		"hsrp": {
			message(at("8.0.0.1", "224.0.0.2", 17, 1985, false), "hsrp", "message", false, "address", "8.0.0.254", "group", "5", "state", "active"),
			[]string{"hsrp|8.0.0.1|||0.95|hsrp_address=8.0.0.254|hsrp_group=5|hsrp_state=active|role=router|vendor=Cisco"},
		},
		"beacon": {message(link, "802.11", "beacon", false, "source", "02:00:00:00:00:03", "ssid", "lab"), []string{"802.11|invalid IP|02:00:00:00:00:03||0.95|role=access-point|wifi_network=lab"}},
		"ssdp": {
			message(at("192.168.1.9", "239.255.255.250", 17, 1900, false), "ssdp", "notify", false, "server", "Linux/4 UPnP/1.0 X/1", "target", "urn:schemas-upnp-org:device:InternetGatewayDevice:1"),
			[]string{"ssdp|192.168.1.9|||0.85|os=linux|role=gateway|services=ssdp|software=Linux/4 UPnP/1.0 X/1|upnp_device=InternetGatewayDevice"},
		},
		"ssdp search": {message(at("192.168.1.9", "239.255.255.250", 17, 1900, false), "ssdp", "search", false), []string{"ssdp|192.168.1.9|||0.6"}},
		"netbios registration": {
			message(at("192.168.1.9", "192.168.1.255", 17, 137, false), "netbios-ns", "registration", false, "subject", "PC9", "broadcast", "true"), []string{"netbios-ns|192.168.1.9||PC9|0.85"},
		},
		"netbios group": {
			message(at("192.168.1.9", "192.168.1.255", 17, 137, false), "netbios-ns", "registration", false, "subject", "WORKGROUP", "group", "true", "broadcast", "true"), []string{"netbios-ns|192.168.1.9|||0.6"},
		},
		"netbios status": {
			message(at("192.168.1.4", "192.168.1.9", 17, 137, true), "netbios-ns", "status", true, "held", "WG true, PC9 false, PC9 32 false, WG 30 true", "mac", "02:00:00:00:00:01"),
			[]string{"netbios-ns|192.168.1.9|02:00:00:00:00:01|PC9|0.85|domain=WG|services=netbios smb"},
		},
		"neighbourhood": {
			message(at("192.168.1.9", "192.168.1.255", 17, 138, false), "netbios-dgm", "announcement", false, "source", "PC9", "announced_host", "PC9", "announced_command", "1", "announced_comment", "Bob's", "addr", "192.168.1.9"),
			[]string{"netbios-dgm|192.168.1.9||PC9|0.85|description=Bob's|services=netbios"},
		},
		"snmp": {
			message(at("192.168.1.4", "192.168.1.1", 17, 161, true), "snmp", "response", true, oidDescription, "RouterOS RB5", oidName, "edge"),
			[]string{"snmp|192.168.1.1||edge|0.85", "snmp|192.168.1.1|||0.95|description=RouterOS RB5|os=mikrotik|ports=161/udp|role=router|services=snmp|vendor=MikroTik"},
		},
		"ssh":  {message(back, "ssh", "banner", false, "software", "OpenSSH_9", "comment", "Debian-2"), []string{"ssh|10.0.0.9|||0.95|os=linux|ports=443/tcp|services=ssh|ssh_server=OpenSSH_9 Debian-2"}},
		"sip":  {message(web, "sip", "register", false, "user_agent", "Yealink T4"), []string{"sip|192.168.1.5|||0.6|role=phone|sip_client=Yealink T4|vendor=Yealink"}},
		"mqtt": {message(web, "mqtt", "connect", false, "client", "lamp7"), []string{"mqtt|192.168.1.5|||0.6|mqtt_client=lamp7"}},
		"smtp": {message(back, "smtp", "session", false), []string{"smtp|10.0.0.9|||0.95|ports=443/tcp|services=smtp"}},
		"ping": {message(web, "icmp", "echo-request", false), nil},
	} {
		if have := observe(t, "{}").batch(c.batch); !slices.Equal(have, c.want) {
			t.Errorf("%s:\nhave %q\nwant %q", name, have, c.want)
		}
	}
}

// What is known is not told again until the device was quiet about it for a while.
func TestNothingIsToldTwice(t *testing.T) {
	o := observe(t, `{"refresh": "1m"}`)
	say := func(after time.Duration, software string) []string {
		seen := back
		seen.Time = start.Add(after)
		return o.batch(message(seen, "ssh", "banner", false, "software", software))
	}
	for i, c := range []struct {
		after    time.Duration
		software string
		want     int
	}{{0, "a", 1}, {time.Second, "a", 0}, {2 * time.Second, "b", 0}, {61 * time.Second, "b", 1}, {62 * time.Second, "a", 0}, {63 * time.Second, "b", 0}, {200 * time.Second, "b", 1}} {
		if have := say(c.after, c.software); len(have) != c.want {
			t.Errorf("%d: %q", i, have)
		}
	}
	if err := o.inst.EndCapture(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if have := say(201*time.Second, "b"); len(have) != 1 {
		t.Errorf("in the next capture: %q", have)
	}
}

// What is surer wins, and what is less sure does not come back.
func TestTheSurerFactWins(t *testing.T) {
	o := observe(t, "{}")
	o.batch(sdk.Batch{HTTP: []sdk.HTTP{{Seen: web, UserAgent: "X11; Linux"}}})
	sure := sdk.DHCP{Seen: web, Version: 4, ClientAddr: ip("192.168.1.5"), VendorClass: "MSFT 5.0"}
	if have := o.batch(sdk.Batch{DHCP: []sdk.DHCP{sure}}); len(have) != 1 || !strings.Contains(have[0], "os=windows") {
		t.Errorf("%q", have)
	}
	later := web
	later.Time = start.Add(time.Hour)
	if have := o.batch(sdk.Batch{HTTP: []sdk.HTTP{{Seen: later, UserAgent: "X11; Linux"}}}); len(have) != 1 || strings.Contains(have[0], "os=") {
		t.Errorf("%q", have)
	}
}

func TestScope(t *testing.T) {
	for config, want := range map[string]string{
		`{}`: "10.0.0.1 100.64.0.1 fe80::1 fd00::1", `{"networks": ["10.0.0.0/8", "8.8.8.0/24"]}`: "10.0.0.1 8.8.8.8", `{"exclude": ["fe80::/10", "10.0.0.0/8"]}`: "100.64.0.1 fd00::1",
	} {
		var have []string
		for _, addr := range []string{"10.0.0.1", "100.64.0.1", "8.8.8.8", "fe80::1", "fd00::1", "2001:db8::1", "127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255"} {
			o := observe(t, config)
			seen := at("192.0.2.1", addr, sdk.ProtoTCP, 22, true)
			if len(o.batch(message(seen, "ssh", "banner", false, "software", "x"))) > 0 {
				have = append(have, addr)
			}
		}
		if strings.Join(have, " ") != want {
			t.Errorf("%s: %q, want %q", config, have, want)
		}
	}
	for _, config := range []string{`{"networks": ["home"]}`, `{"exclude": ["1.2.3.4/99"]}`, `{"max_devices": 1}`, `{"net": []}`} {
		if err := plugintest.Decode(New(), config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
	if err := New().Observe(t.Context(), sdk.Batch{}, nil); err == nil {
		t.Error("it observes before it is started")
	}
}

// A host that names the address from which it speaks names its others; who speaks for another one says nothing of the kind.
func TestAllAddressesOfAHost(t *testing.T) {
	o := observe(t, `{}`)
	named := func(own string) sdk.Batch {
		return answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, "desk.local", "A", own, "Desk.local", "AAAA", "fe80::7", "tv.local", "AAAA", "fe80::8")
	}
	var got []string
	for _, line := range o.batch(named("192.168.1.5")) {
		if strings.Contains(line, "link_name=desk") {
			got = append(got, strings.Split(line, "|")[1])
		}
	}
	if !slices.Equal(got, []string{"192.168.1.5", "fe80::7"}) {
		t.Errorf("%q are its addresses", got)
	}
	if lines := observe(t, `{}`).batch(named("192.168.1.6")); strings.Contains(fmt.Sprint(lines), "link_name") {
		t.Errorf("%q", lines)
	}
}

// A name whose letters look like the presentation format is not read as one a second time.
func TestNamesAreReadOnce(t *testing.T) {
	const written = `a\\032b.local` // the label a\032b
	for name, b := range map[string]sdk.Batch{
		"address": answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, written, "A", "192.168.1.5"),
		"service": answers(sdk.DNS{Seen: mdns, Protocol: "mdns"}, "x._http._tcp.local", "SRV", "0 0 80 "+written),
		"probe":   {DNS: []sdk.DNS{{Seen: mdns, Protocol: "mdns", Query: written, QType: typeANY, AuthorityCount: 1}}},
	} {
		if have := strings.Join(observe(t, "{}").batch(b), " "); !strings.Contains(have, `|a\032b|`) {
			t.Errorf("%s: %q", name, have)
		}
	}
}

func TestPresentationFormat(t *testing.T) {
	for text, want := range map[string][]string{
		`"a=b" "c\"d" "e\032f"`: {"a=b", `c"d`, "e f"}, `"open`: {"open"}, `"x\`: {`x\`}, `"\25"`: {"25"}, ``: nil, `"\255"`: {"\ufffd"},
	} {
		if have := quoted(text); !slices.Equal(have, want) {
			t.Errorf("%s: %q", text, have)
		}
	}
}

func FuzzDNS(f *testing.F) {
	f.Add("_ipp._tcp.local", `"ty=a"`, uint64(typeTXT))
	f.Add("a.local", "192.168.1.5", uint64(typeA))
	f.Add(`x\0`, "0 0 1 \\", uint64(typeSRV))
	f.Fuzz(func(t *testing.T, name, answer string, kind uint64) {
		o := &observed{t: t, inst: New()}
		plugintest.Configure(t, o.inst, "{}")
		if err := o.inst.Start(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		r := sdk.DNS{Seen: mdns, Protocol: "mdns", Response: true, AnswerNames: []string{name}, Answers: []string{answer}, AnswerTypes: []uint64{kind}}
		if lines := o.batch(sdk.Batch{DNS: []sdk.DNS{r}}); len(lines) > 3 {
			t.Errorf("%q", lines)
		}
	})
}
