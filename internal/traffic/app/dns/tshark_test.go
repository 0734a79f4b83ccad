package dns

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// TestAgreesWithTshark compares every message of the captures with what tshark reads of the same packet.
func TestAgreesWithTshark(t *testing.T) {
	for file, least := range map[string]int{
		"benign-dns__ggyggy666__normal_00067_20230806152800.pcap.pcapng":          1000,
		"benign-dns__zeek__mdns.pcap":                                             18,
		"disc-mdns__nfstream__mdns.pcap":                                          200,
		"disc-llmnr__OISF__llmnr-udp.pcap":                                        2,
		"benign-web__chrissanders__http_espn.pcapng":                              20,
		"atk-dnstunnel__ggyggy666__AndIodine-MX_00001_20230921200640.pcap.pcapng": 200,
		"atk-dnstunnel__sbousseaden__cmds_over_dns_txt_queries_and_reponses.pcap": 200,
		"atk-dnsexfil__ntop__dns_exfiltration.pcap":                               200,
		"atk-dns__stamparm__dns_nxdomain_flood.pcap":                              20,
	} {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	have := map[string]string{}
	apptest.Run(t, path, []app.Protocol{DNS, MDNS, LLMNR}, func(f *app.Fact) {
		have[strconv.FormatUint(f.Flow.Packet, 10)] += line(f.Body.(*Message))
	})
	compared := 0
	for _, row := range apptest.Tshark(t, path, "(dns || mdns || llmnr) && !icmp && !icmpv6 && !nbns && !_ws.malformed", "frame.number", "dns.id", "dns.flags.response", "dns.flags.opcode", "dns.flags.rcode",
		"dns.qry.name", "dns.qry.type", "dns.count.answers", "dns.resp.ttl", "dns.a", "dns.aaaa", "dns.cname") {
		frame, id := row[0][0], row[1]
		if len(id) != 1 {
			continue // several messages in one packet of TCP
		}
		compared++
		want := strings.Join([]string{number(id), fmt.Sprint(row[2][0] == "1" || row[2][0] == "True"), number(row[3]), number(row[4]), names(row[5]), join(row[6]),
			number(row[7]), join(row[9]), join(row[10]), names(row[11])}, " ")
		if have[frame] != want {
			t.Errorf("packet %s:\nhave %s\nwant %s", frame, have[frame], want)
		}
	}
	if compared < least {
		t.Errorf("%d messages were compared", compared)
	}
	t.Logf("%d messages compared", compared)
}

// line writes a message as tshark's fields are.
func line(m *Message) string {
	var names_, types, a, aaaa, cname []string
	for _, q := range m.Questions {
		names_, types = append(names_, q.Name), append(types, strconv.Itoa(int(q.Type)))
	}
	for _, section := range [][]Record{m.Answers, m.Authorities, m.Additionals} {
		for _, r := range section {
			switch r.Type {
			case typeA:
				a = append(a, r.Data)
			case typeAAAA:
				aaaa = append(aaaa, r.Data)
			case typeCNAME:
				cname = append(cname, r.Data)
			}
		}
	}
	return strings.Join([]string{strconv.Itoa(int(m.ID)), strconv.FormatBool(m.Response), strconv.Itoa(int(m.Opcode)), strconv.Itoa(int(m.RCode & 0xf)), names(names_), join(types),
		strconv.Itoa(len(m.Answers)), join(a), join(aaaa), names(cname)}, " ")
}

// names drops what tshark and RFC 4343 write in different ways.
func names(list []string) string {
	out := slices.Clone(list)
	for i, name := range out {
		if name == "." || name == "<Root>" {
			out[i] = ""
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '\\' }) {
			out[i] = "odd"
		}
	}
	return join(out)
}

func join(list []string) string { return strings.Join(list, ",") }

// number reads what tshark writes in hex or decimal; a response code is left out in queries.
func number(list []string) string {
	if len(list) == 0 {
		return "0"
	}
	n, err := strconv.ParseUint(list[0], 0, 32)
	if err != nil {
		return list[0]
	}
	return strconv.FormatUint(n, 10)
}
