package mdns

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/mdns") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/mdns"), sdktest.Options{
		Config: []byte(`{"targets": ["127.0.0.1/32"], "wait": "100ms"}`), Grants: grants,
	})
}

var grants = []sdk.Permission{
	{Cap: sdk.CapNetListen, Args: map[string][]string{"proto": {"udp"}}},
	{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"udp"}, "to": {"224.0.0.251:5353", "127.0.0.1/32", "192.0.2.0/24"}, "port": {"5353"}}},
}

// Avahi publishes a service of each kind, which all are heard, under the name that it gives the host; what it takes back is gone.
func TestAvahi(t *testing.T) {
	if !plugintest.InNetwork(t, []string{"192.0.2.1/24"}, []string{"192.0.2.9/24"}) {
		return
	}
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("avahi.conf", "[server]\nhost-name=printer-hall\nuse-ipv6=no\nenable-dbus=no\n[publish]\npublish-workstation=yes\n[rlimits]\n")
	plugintest.StartFar(t, "avahi-daemon", "-f", filepath.Join(folder, "avahi.conf"), "--no-drop-root", "--no-chroot", "--no-rlimits")

	host := sdktest.NewHost(t)
	host.Grants = grants
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.0/24"], "wait": "600ms"}`)
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		var all devices
		if err := d.Discover(t.Context(), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, &all); err != nil {
			t.Fatal(err)
		}
		far := all["192.0.2.9"]
		if strings.Contains(far.services, "_workstation._tcp") && far.hostname == "printer-hall" && far.mac != "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("heard of %+v, want printer-hall with its hardware address and workstation", all)
		}
	}
}

type device struct{ hostname, mac, services string }

// devices are what was told, by address.
type devices map[string]device

func (d *devices) Sighting(s sdk.Sighting) error {
	if *d == nil {
		*d = devices{}
	}
	one := (*d)[s.IP.String()]
	if s.Hostname != "" {
		one.hostname = s.Hostname
	}
	if s.MAC != "" {
		one.mac = s.MAC
	}
	one.services += " " + s.Facts["services"]
	(*d)[s.IP.String()] = one
	return nil
}

func TestQuestions(t *testing.T) {
	q := newQuestions(sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/30")}})
	first := q.due()
	if len(first) != len(kinds)+1 || first[0][5] != 1 || first[len(kinds)][5] != 2 {
		t.Fatalf("asks %q, want a message for each kind and one for two addresses", first)
	}
	if want := "\x011\x012\x010\x03192\x07in-addr\x04arpa\x00\x00\x0c\x00\x01"; !strings.HasPrefix(string(first[len(kinds)][headerSize:]), want) {
		t.Errorf("asks %q, want a question for the name of an address", first[len(kinds)])
	}
	told := func(name string, kind uint64, answer string) *sdk.Batch {
		return &sdk.Batch{DNS: []sdk.DNS{{Protocol: "mdns", Response: true, AnswerNames: []string{name}, AnswerTypes: []uint64{kind}, Answers: []string{answer}}}}
	}
	q.learn(told("_services._dns-sd._udp.local", typePTR, "_x._tcp.local"))
	q.learn(told("_ipp._tcp.local", typePTR, `A\.B\032C._ipp._tcp.local`))
	q.learn(told(`A\.B\032C._ipp._tcp.local`, typeSRV, "0 0 631 desk.local"))
	q.learn(told("_ipp._tcp.local", typePTR, "elsewhere.example.com"))
	second := q.due()
	if all := bytes.Join(second, nil); !bytes.Contains(all, []byte("\x05a.b c\x04_ipp")) || !bytes.Contains(all, []byte("\x02_x\x04_tcp\x05local")) ||
		!bytes.Contains(all, []byte("\x04desk\x05local")) || bytes.Contains(all, []byte("example")) {
		t.Errorf("then asks %q", second)
	}
	if third := q.due(); len(third) != 0 {
		t.Errorf("asks the same again: %q", third)
	}
	for range 3 * maxQuestions {
		q.learn(told("_services._dns-sd._udp.local", typePTR, "_"+strings.Repeat("y", len(q.known)%60)+string(rune('a'+len(q.known)%26))+"._tcp.local"))
	}
	if len(q.known) > 2*maxQuestions {
		t.Errorf("remembers %d questions", len(q.known))
	}
}

func FuzzWireName(f *testing.F) {
	f.Add(`A\.B\032C._ipp._tcp.local`)
	f.Add(`\\`)
	f.Add("..")
	f.Fuzz(func(t *testing.T, s string) {
		b, ok := wireName(s)
		if !ok {
			return
		}
		labels := 0
		for b[0] != 0 {
			if b[0] > 63 || int(b[0]) >= len(b) {
				t.Fatalf("%q became a broken name", s)
			}
			b, labels = b[1+b[0]:], labels+1
		}
		if len(b) != 1 || labels == 0 {
			t.Fatalf("%q became a name with something behind it", s)
		}
	})
}
