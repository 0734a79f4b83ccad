package ssdp

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
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

func TestPage(t *testing.T) { plugintest.Page(t, "picket/ssdp") }

func TestConformance(t *testing.T) {
	sdktest.Run(t, plugintest.Registered(t, "picket/ssdp"), sdktest.Options{
		Config: []byte(`{"targets": ["127.0.0.1/32"], "wait": "100ms"}`), Grants: grants,
	})
}

var grants = []sdk.Permission{
	{Cap: sdk.CapNetListen, Args: map[string][]string{"proto": {"udp"}}},
	{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"udp"}, "to": {"239.255.255.250:1900", "127.0.0.1/32", "192.0.2.0/24"}, "port": {"1900"}}},
	{Cap: sdk.CapNetDial, Args: map[string][]string{"proto": {"tcp"}, "to": {"127.0.0.1/32", "192.0.2.0/24"}}},
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><specVersion><major>1</major></specVersion>
<device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName> Gate of
 the hall</friendlyName><manufacturer>Example</manufacturer><modelName>G1</modelName><modelNumber>7</modelNumber><serialNumber>S9</serialNumber>
<deviceList><device><friendlyName>A part</friendlyName><manufacturer>Other</manufacturer><serviceList><service>
<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType></service></serviceList></device></deviceList></device></root>`

func TestParse(t *testing.T) {
	d, err := parse([]byte(description))
	want := map[string]string{"name": "Gate of the hall", "vendor": "Example", "model": "G1", "product": "7", "serial": "S9",
		"upnp_device": "InternetGatewayDevice", "upnp_services": "WANIPConnection", "role": "gateway"}
	if err != nil || !maps.Equal(d.facts(), want) {
		t.Errorf("read %v (%v), want %v", d.facts(), err, want)
	}
	for name, text := range map[string]string{
		"a DTD":            `<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><root><device><friendlyName>&x;</friendlyName></device></root>`,
		"an entity":        `<root><device><friendlyName>&x;</friendlyName></device></root>`,
		"too deep":         strings.Repeat("<a>", maxDepth+1),
		"no device":        `<root></root>`,
		"not UTF-8":        `<?xml version="1.0" encoding="utf-16"?><root><device/></root>`,
		"not XML":          "HTTP/1.1 200 OK",
		"ends in the mid":  `<root><device><friendlyName>x`,
		"an element ended": `</root>`,
	} {
		if d, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: read %v, want an error", name, d)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(description))
	f.Add([]byte(`<device><serviceType>urn:a:service:b:1</serviceType></device>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := parse(b)
		if err != nil {
			return
		}
		for name, value := range d.facts() {
			if len(value) > maxTextLength {
				t.Fatalf("%s has %d bytes", name, len(value))
			}
		}
	})
}

// Only the address that answered is read.
func TestLocations(t *testing.T) {
	answer := func(from, location string) *sdk.Batch {
		return &sdk.Batch{Messages: []sdk.Message{{Seen: sdk.Seen{Server: netip.MustParseAddr(from)}, Protocol: "ssdp", Response: true,
			Fields: map[string]string{"location": location}}}}
	}
	d := descriptions{}
	for _, bad := range []string{"http://192.0.2.7/d.xml", "http://localhost/", "http://169.254.169.254/", "file:///etc/passwd", "https://192.0.2.9/",
		"http://user:word@192.0.2.9/", "http://192.0.2.9.example.com/", "http://[::ffff:192.0.2.9]/", "%", ""} {
		if d.learn(answer("192.0.2.9", bad)); len(d) > 0 {
			t.Fatalf("would read %v", d)
		}
	}
	if d.learn(answer("192.0.2.9", "http://192.0.2.9:8200/rootDesc.xml")); len(d) != 1 {
		t.Error("would not read the description of the device itself")
	}
	for i := range 2 * maxOfOne {
		d.learn(answer("192.0.2.9", "http://192.0.2.9/"+strings.Repeat("x", i)))
	}
	if len(d) != maxOfOne {
		t.Errorf("remembers %d descriptions of one address, want %d", len(d), maxOfOne)
	}
	for i := range 2 * maxDescriptions {
		at := fmt.Sprintf("10.0.%d.%d", i/256, i%256)
		d.learn(answer(at, "http://"+at+"/"))
	}
	if len(d) != maxDescriptions {
		t.Errorf("remembers %d descriptions, want %d", len(d), maxDescriptions)
	}
}

// A redirect is not followed, and a description without end is not read to its end.
func TestHostileDescriptions(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it went where it was sent") }))
	defer elsewhere.Close()
	hostile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, elsewhere.URL, http.StatusFound)
			return
		}
		for range 2 * maxDescription / 64 {
			if _, err := w.Write([]byte(strings.Repeat(" ", 64))); err != nil {
				return
			}
		}
	}))
	defer hostile.Close()
	host := sdktest.NewHost(t)
	host.Grants = grants
	d := New()
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/away", "/endless"} {
		if about, err := d.describe(t.Context(), hostile.URL+path); err == nil {
			t.Errorf("%s: read %+v", path, about)
		}
	}
}

// MiniDLNA answers the search, and its description says what it is called.
func TestMiniDLNA(t *testing.T) {
	if !plugintest.InNetwork(t, []string{"192.0.2.1/24"}, []string{"192.0.2.9/24"}) {
		return
	}
	folder := t.TempDir()
	config := filepath.Join(folder, "minidlna.conf")
	text := "network_interface=far0\nmedia_dir=DIR\ndb_dir=DIR\nlog_dir=DIR\nfriendly_name=Films of the hall\nport=8200\nserial=S9\ninotify=no\n"
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(text, "DIR", folder)), 0o644); err != nil {
		t.Fatal(err)
	}
	plugintest.StartFar(t, "minidlnad", "-S", "-f", config, "-P", filepath.Join(folder, "pid"))

	host := sdktest.NewHost(t)
	host.Grants = grants
	d := New()
	plugintest.Configure(t, d, `{"targets": ["192.0.2.0/24"], "wait": "1500ms"}`)
	if err := d.Start(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; {
		var told facts
		if err := d.Discover(t.Context(), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, &told); err != nil {
			t.Fatal(err)
		}
		if told["upnp name"] == "Films of the hall" && told["ssdp upnp_device"] == "MediaServer" && told["upnp serial"] == "S9" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("heard %v, want a MediaServer named Films of the hall", told)
		}
	}
}

// facts are what was told of the device, by source and name.
type facts map[string]string

func (f *facts) Sighting(s sdk.Sighting) error {
	if *f == nil {
		*f = facts{}
	}
	for name, value := range s.Facts {
		(*f)[s.Source+" "+name] = value
	}
	return nil
}
