package snmp

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/plugins/internal/snmp/snmptest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/snmp-devices") }

func TestConformance(t *testing.T) {
	a := play(t)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(configFor(t, a, "")), Scope: loopback})
}

var loopback = sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

// play is an agent that is the recorded switch.
func play(t *testing.T) *snmptest.Agent {
	t.Helper()
	recording, err := os.Open("testdata/switch.snmprec")
	if err != nil {
		t.Fatal(err)
	}
	defer recording.Close()
	a := snmptest.New(t)
	a.Put(t, "lab", recording)
	return a
}

func configFor(t *testing.T, a *snmptest.Agent, more string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"targets": ["127.0.0.1/32"], "port": %s, "access": {"community": "lab"}, "timeout": "200ms", "retries": 0%s}`, port, more)
}

// sink gathers sightings.
type sink struct {
	mu   sync.Mutex
	list []sdk.Sighting
}

func (s *sink) Sighting(v sdk.Sighting) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, v)
	return nil
}

func discover(t *testing.T, text string, scope sdk.Scope) []sdk.Sighting {
	t.Helper()
	d := New()
	plugintest.Start(t, d, text)
	var s sink
	if err := d.Discover(t.Context(), scope, &s); err != nil {
		t.Fatal(err)
	}
	return s.list
}

func TestSwitch(t *testing.T) {
	list := discover(t, configFor(t, play(t), ""), loopback)
	if len(list) == 0 {
		t.Fatal("nothing was seen")
	}
	s := list[0]
	if s.IP != netip.MustParseAddr("127.0.0.1") || s.MAC != "02:50:c2:00:00:01" || s.Hostname != "access1" || s.Source != "snmp" || s.Confidence != certain {
		t.Errorf("%+v", s)
	}
	for name, want := range map[string]string{
		"name": "access1", "description": "Test switch, version 1", "location": "Roof", "vendor": "MikroTik", "model": "CRS-1", "serial": "SN1", "role": "switch",
		"snmp_object": "1.3.6.1.4.1.14988.1",
	} {
		if s.Facts[name] != want {
			t.Errorf("%s: %q, want %q", name, s.Facts[name], want)
		}
	}
	have, err := json.Marshal(struct{ P, L any }{s.Ports, s.Links})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"P":[` +
		`{"index":1,"name":"ge1","description":"ge1","alias":"uplink","type":"ethernet","speed":10000000000,"state":"up"},` +
		`{"index":2,"name":"ge2","description":"ge2","type":"ethernet","state":"off"},` +
		`{"index":3,"name":"mgmt","description":"mgmt","type":"ethernet","mac":"02:50:c2:00:00:03","addresses":["2001:db8::5/64"]}],"L":[` +
		`{"port":"ge2","protocol":"bridge","mac":"02:50:c2:00:00:50"},` +
		`{"port":"ge1","protocol":"lldp","mac":"02:50:c2:00:00:09","ip":"10.9.9.9","name":"core","remote_port":"eth7","remote_mac":"02:50:c2:00:00:0a"},` +
		`{"port":"ge1","protocol":"cdp","ip":"127.0.2.8","name":"phone1","remote_port":"Port 1","description":"Phone"}]}`
	if string(have) != want {
		t.Errorf("have %s\nwant %s", have, want)
	}
	var around []string
	for _, s := range list[1:] {
		around = append(around, fmt.Sprint(s.IP, " ", s.MAC, " ", s.Hostname, " ", s.Source, " ", s.Facts["known_by"]))
	}
	// What lies outside the scope is not told.
	if want := []string{"127.0.2.8  phone1 cdp access1 ge1", "127.0.2.77 02:50:c2:00:00:77  snmp access1 mgmt"}; !slices.Equal(around, want) {
		t.Errorf("%q", around)
	}
	if alone := discover(t, configFor(t, play(t), `, "neighbours": false`), loopback); len(alone) != 1 {
		t.Errorf("%d sightings without neighbours", len(alone))
	}
}

// The port that has the address that was asked says the hardware address.
func TestMACOfAddress(t *testing.T) {
	f := &device{system: system{baseMAC: "02:00:00:00:00:01"}, ports: []sdk.Port{
		{MAC: "02:00:00:00:00:02", Type: "ethernet"}, {MAC: "02:00:00:00:00:03", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}}}}
	if mac := f.macOf(netip.MustParseAddr("192.0.2.1")); mac != "02:00:00:00:00:03" {
		t.Error(mac)
	}
	if mac := f.macOf(netip.MustParseAddr("192.0.2.9")); mac != "02:00:00:00:00:01" {
		t.Error(mac)
	}
}

func TestNobodyAnswers(t *testing.T) {
	if list := discover(t, configFor(t, snmptest.New(t), ""), loopback); len(list) > 0 {
		t.Errorf("%v", list)
	}
}

// Nothing outside the scope is asked.
func TestScope(t *testing.T) {
	a := play(t)
	d := New()
	plugintest.Start(t, d, configFor(t, a, ""))
	err := d.Discover(t.Context(), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("127.9.0.0/16")}}, &sink{})
	if sdk.ClassOf(err) != sdk.InvalidConfig || a.Requests() > 0 {
		t.Errorf("%d requests, %v", a.Requests(), err)
	}
}

func TestMissingSecret(t *testing.T) {
	d := New()
	plugintest.Start(t, d, `{"targets": ["127.0.0.1/32"], "access": {}}`)
	if err := d.Discover(t.Context(), loopback, &sink{}); sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), "community") {
		t.Errorf("%v", err)
	}
}

func TestConfig(t *testing.T) {
	for text, want := range map[string]string{
		`{"targets": ["192.0.2.0/24"], "access": {"version": "3"}}`: "access.user",
		`{"targets": [], "access": {}}`:                             "targets",
		`{"targets": ["192.0.2.0/24"], "access": {}}`:               "",
	} {
		if err := plugintest.Decode(New(), text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestVendor(t *testing.T) {
	for object, want := range map[snmp.OID]string{"1.3.6.1.4.1.9.1.1208": "Cisco", "1.3.6.1.4.1.8072.3.2.10": "", "1.3.6.1.4.1": "", "1.3": "", "": "", "1.3.6.1.4.1.99.1": ""} {
		if have := vendorOf(object); have != want {
			t.Errorf("%s: %q", object, have)
		}
	}
}

// FuzzIndex reads any numbers as the index of a row.
func FuzzIndex(f *testing.F) {
	f.Add("1.4.192.0.2.1")
	f.Add("2.16.32.1")
	f.Fuzz(func(_ *testing.T, text string) {
		arcs := snmp.Index(text)
		typedAddress(arcs)
		managementAddress(arcs)
		macOf(arcs)
		address(arcs)
		familyAddress([]byte(text))
	})
}
