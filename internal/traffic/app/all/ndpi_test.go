package all_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/all"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// ndpiNames gives our name for nDPI's. nDPI names some by what is inside or by the port, which the content does not say.
var ndpiNames = map[string]string{
	"TLS": "tls", "DoH_DoT": "tls", "SMTPS": "tls", "IMAPS": "tls", "POPS": "tls", "LDAPS": "tls", "FTPS": "tls", "DTLS": "dtls",
	"HTTP": "http", "HTTP_Connect": "http", "HTTP_Proxy": "http", "SOAP": "http", "Git": "http", "WSD": "http", "WebSocket": "websocket",
	"HTTP2": "http2", "gRPC": "grpc", "SSH": "ssh", "QUIC": "quic", "DNS": "dns", "MDNS": "mdns", "LLMNR": "llmnr",
	"NTP": "ntp", "DHCP": "dhcp", "DHCPV6": "dhcpv6", "HSRP": "hsrp", "SNMP": "snmp", "Modbus": "modbus", "NetBIOS": sessions,
	"FTP_CONTROL": "ftp", "SMTP": "smtp", "LDAP": "ldap", "CLDAP": "ldap", "Kerberos": "kerberos", "RDP": "rdp", "Telnet": "telnet", "IMAP": "imap", "POP3": "pop3", "SIP": "sip",
	"DNP3": "dnp3", "s7comm": "s7comm", "EthernetIP": "enip", "IEC60870": "iec104", "MQTT": "mqtt", "SSDP": "ssdp",
}

// sessions are what nDPI calls NetBIOS, which we name by what is in it, or not.
const sessions = "netbios"

// inside are our names for what runs in a protocol that nDPI names as the outer one.
var inside = map[string][]string{sessions: {"smb", "netbios-ns", "netbios-dgm"}, "s7comm": {"s7comm-plus"}, "http": {"websocket"}, "http2": {"grpc"}, "quic": {"http3"}}

type conversation struct {
	proto string
	a, b  netip.AddrPort
}

func newConversation(proto string, a, b netip.AddrPort) conversation {
	if b.Compare(a) < 0 {
		a, b = b, a
	}
	return conversation{proto, a, b}
}

// agreement counts flows by our name.
type agreement struct{ same, other, unknown, missed int }

// TestAgreesWithNDPI compares the protocol of every flow of the shared captures with ndpiReader's, which looks at the content
// too (its guesses by port are off).
func TestAgreesWithNDPI(t *testing.T) {
	program, err := exec.LookPath("ndpiReader")
	if err != nil {
		t.Skip("no ndpiReader here")
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(apptest.Shared(t, "INDEX.tsv")), "*.pcap*"))
	if err != nil {
		t.Fatal(err)
	}
	table, differences := map[string]*agreement{}, map[string]int{}
	row := func(name string) *agreement {
		if table[name] == nil {
			table[name] = &agreement{}
		}
		return table[name]
	}
	for _, file := range files {
		theirs := ndpi(t, program, file)
		for c, names := range ours(t, file) {
			their, found := theirs[c]
			if !found {
				continue // ndpiReader does not show it: fragments, or a tunnel that one of both opens
			}
			master, _, _ := strings.Cut(their, ".")
			want := ndpiNames[master]
			if c.proto == "6" && strings.Contains(their, "SMBv") {
				want = "smb" // which they have in NetBIOS where a NetBIOS session carries it
			}
			for _, name := range names {
				switch {
				case name == "" && want != "" && want != sessions:
					row(want).missed++
					differences[fmt.Sprint(filepath.Base(file), " unknown, they ", their)]++
				case name == "":
				case their == "Unknown":
					row(name).unknown++
				case name == want || slices.Contains(inside[want], name):
					row(name).same++
				default:
					row(name).other++
					differences[fmt.Sprint(filepath.Base(file), " ", name, ", they ", their)]++
				}
			}
		}
	}
	report(t, table, differences)
}

func report(t *testing.T, table map[string]*agreement, differences map[string]int) {
	t.Helper()
	names := make([]string, 0, len(table))
	for name := range table {
		names = append(names, name)
	}
	slices.Sort(names)
	total := agreement{}
	t.Logf("%-10s %6s %6s %14s %12s", "protocol", "same", "other", "they: unknown", "we: unknown")
	for _, name := range names {
		a := table[name]
		t.Logf("%-10s %6d %6d %14d %12d", name, a.same, a.other, a.unknown, a.missed)
		total = agreement{total.same + a.same, total.other + a.other, total.unknown + a.unknown, total.missed + a.missed}
	}
	share := float64(total.same) / float64(max(1, total.same+total.other))
	t.Logf("of %d flows that both name, %.2f %% have the same name; with those that we miss, %.2f %%", total.same+total.other, 100*share,
		100*float64(total.same)/float64(max(1, total.same+total.other+total.missed)))
	var lines []string
	for d, n := range differences {
		lines = append(lines, fmt.Sprintf("%5d %s", n, d))
	}
	slices.Sort(lines)
	t.Log("differences:\n" + strings.Join(lines, "\n"))
	if share < 0.95 || total.same < 2500 {
		t.Errorf("%.2f %% of %d", 100*share, total.same+total.other)
	}
}

func ours(t *testing.T, file string) map[conversation][]string {
	t.Helper()
	names := map[uint64]string{}
	engine := app.New(app.Config{Ended: func(id uint64, name string) { names[id] = name }, Facts: everyFact()}, all.Protocols())
	out := map[conversation][]string{}
	_, err := traffic.AnalyzeFile(context.Background(), file, traffic.Options{Flow: flow.Config{Apps: engine}}, nil, func(flows []sdk.Flow) error {
		for _, f := range flows {
			if f.FwdPayload+f.RevPayload == 0 || f.Proto != sdk.ProtoTCP && f.Proto != sdk.ProtoUDP {
				continue
			}
			c := newConversation(strconv.Itoa(int(f.Proto)), netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort))
			out[c] = append(out[c], names[f.ID])
		}
		return nil
	})
	var damaged *capture.DamagedError
	if err != nil && !errors.As(err, &damaged) {
		t.Logf("%s: %v", file, err)
	}
	return out
}

// everyFact asks for all facts, so that parsers run and name what is inside.
func everyFact() map[string]func(*app.Fact) {
	out := map[string]func(*app.Fact){}
	for _, p := range all.Protocols() {
		out[p.Name] = func(*app.Fact) {}
	}
	return out
}

func ndpi(t *testing.T, program, file string) map[conversation]string {
	t.Helper()
	table := filepath.Join(t.TempDir(), "flows.csv")
	if err := exec.CommandContext(context.Background(), program, "-q", "-d", "-i", file, "-C", table).Run(); err != nil {
		t.Logf("ndpiReader %s: %v", filepath.Base(file), err)
	}
	text, err := os.ReadFile(table)
	if err != nil {
		return nil
	}
	r := csv.NewReader(bytes.NewReader(text))
	r.FieldsPerRecord, r.LazyQuotes = -1, true
	rows, err := r.ReadAll()
	if err != nil {
		t.Logf("%s: %v", filepath.Base(file), err)
	}
	out := map[conversation]string{}
	for _, col := range rows {
		if len(col) < 11 {
			continue
		}
		a, errA := endpoint(col[5], col[6])
		b, errB := endpoint(col[7], col[8])
		if errA == nil && errB == nil {
			out[newConversation(col[1], a, b)] = col[10]
		}
	}
	return out
}

func endpoint(addr, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(p)), err
}
