package core

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/core/services/inventory"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

func TestNeedsInWords(t *testing.T) {
	o := &outlook{survey: inventory.NewSurvey(), captured: map[string]int{"modbus": 1, "snmp": 9, "mdns": 2}, techniques: map[string]int{"T1046": 4}, open: 4}
	o.survey.Speak = map[string]int{"snmp": 3, "lldp": 1, "docker": 1}
	o.survey.Roles = map[string]int{"printer": 2, "access-point": 1}
	o.survey.Makers = map[string]int{"ubiquiti": 5, "öko": 1}
	o.survey.Systems = map[string]int{"linux": 8}
	o.survey.Nameless, o.survey.Makerless = 12, 1
	var said []string
	for _, n := range o.needs() {
		said = append(said, n.Because)
	}
	want := []string{
		"4 alerts are open, and nobody is told",
		"5 devices are made by Ubiquiti",
		"4 open alerts show T1046, which this finds too",
		"3 devices answer SNMP",
		"2 hosts announce themselves by mDNS in a capture",
		"2 printers on the network",
		"1 access point on the network",
		"1 device announces itself by LLDP",
		"1 device answers the Docker API",
		"1 device is made by Öko",
		"1 host answers Modbus in a capture",
		"8 devices run Linux",
		"12 devices have no name",
		"1 device has no known maker",
	}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
	o = &outlook{survey: inventory.NewSurvey(), open: 3, told: true}
	if got := o.needs(); len(got) != 0 {
		t.Errorf("nothing is known, and yet: %v", got)
	}
}

// What the inventory, captures and alerts know leads to plugins on the market's front page, as a browser asks for it.
func TestTheMarketRecommendsWhatThisNetworkNeeds(t *testing.T) {
	r := registrytest.NewRelease(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/snmp"}, registrytest.Plugin{ID: "picket/modbus", Kind: sdk.KindDetector},
		registrytest.Plugin{ID: "picket/telnet"}, registrytest.Plugin{ID: "picket/chat", Kind: sdk.KindNotifier}, registrytest.Plugin{ID: "picket/snmp-chat", Kind: sdk.KindNotifier})
	bin := programs(t, nil)
	check(t, os.Symlink(r.Dir, filepath.Join(bin, "registry")))
	s := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "data")), Programs: bin, Now: r.Now})
	token := s.admin()
	recommended := func() []string {
		t.Helper()
		r.Advance(needsFor)
		code, body := s.call("GET", "/api/v1/market/front", token, "")
		var front struct {
			Recommended []struct {
				Plugin  struct{ ID string }
				Because string
			}
		}
		check(t, json.Unmarshal([]byte(body), &front))
		if code != 200 {
			t.Fatalf("%d %s", code, body)
		}
		out := []string{}
		for _, r := range front.Recommended {
			out = append(out, r.Plugin.ID+": "+r.Because)
		}
		return out
	}
	if got := recommended(); len(got) != 0 {
		t.Errorf("nothing is known, and yet: %q", got)
	}

	ctx, now := t.Context(), r.Now()
	seen := func(ip, services string) store.Sighting {
		return store.Sighting{Plugin: "picket/scan", Sighting: sdk.Sighting{Time: now, IP: netip.MustParseAddr(ip), Hostname: "host-" + ip, Confidence: 1,
			Facts: map[string]string{"open_ports": services}}}
	}
	check(t, newInventory(s.Core).Sightings(ctx, store.SightingBatch{Tenant: s.tenant, Agent: "a", Sightings: []store.Sighting{
		seen("192.0.2.1", "161/udp"), seen("192.0.2.2", "22, 161/udp"), seen("192.0.2.3", "6379")}}))
	x := store.Capture{ID: "c1", Tenant: s.tenant, Name: "a.pcap", State: store.CaptureDone, Services: []store.ServedPort{{Proto: sdk.ProtoTCP, Port: 502, Hosts: 1}}}
	check(t, s.control.InsertCapture(ctx, x))
	want := []string{"picket/snmp: 2 devices answer SNMP", "picket/modbus: 1 host answers Modbus in a capture"}
	if got := recommended(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}

	check(t, s.alerts.Record(ctx, alert.Source{Tenant: store.DefaultTenant}, []sdk.Finding{{ID: "f1", Start: now, End: now, Detector: "picket/x", Rule: "r", Summary: "t", Severity: sdk.SeverityHigh, Confidence: 1,
		Src: "192.0.2.1", Techniques: []string{"T1046"}}}))
	got := recommended()
	if want := "picket/chat: 1 alert is open, and nobody is told"; !slices.Contains(got, want) || !slices.Contains(got, "picket/snmp: 2 devices answer SNMP") {
		t.Errorf("%q lacks %q", got, want)
	}
	r.Advance(60 * 24 * time.Hour) // the devices are gone; what a capture showed stays
	if got = recommended(); slices.Contains(got, "picket/snmp: 2 devices answer SNMP") || !slices.Contains(got, "picket/modbus: 1 host answers Modbus in a capture") {
		t.Errorf("two months on: %q", got)
	}
}
