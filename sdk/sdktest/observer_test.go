package sdktest

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/kit"
)

// onlooker sees who sends ARP, and keeps nothing.
type onlooker struct{}

func (*onlooker) Config() any { return nil }

func (*onlooker) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	for i := range b.ARP {
		a := &b.ARP[i]
		if !a.SenderIP.IsValid() || a.Time.IsZero() {
			continue
		}
		if err := sink.Sighting(sdk.Sighting{Time: a.Time, IP: a.SenderIP, MAC: a.SenderMAC, Source: a.Protocol, Packet: a.Packet, Confidence: 0.9}); err != nil {
			return err
		}
	}
	return nil
}

func (*onlooker) EndCapture(context.Context, sdk.SightingSink) error { return nil }

func onlookerPlugin(s sdk.Subscription) sdk.Plugin {
	return sdk.Plugin{ID: "test/onlooker", Kind: sdk.KindDiscovery, Summary: "Looks on.", New: func() sdk.Instance { return &onlooker{} }, Subscription: s}
}

func TestAGoodObserver(t *testing.T) {
	Run(t, onlookerPlugin(sdk.Subscription{Flows: true, Facts: sdk.FactKinds}), Options{})
}

// caseOf is a folder with one case: the ARP messages of two machines, and what is wanted of them.
func caseOf(t *testing.T, want string) string {
	t.Helper()
	b := []byte("\xd4\xc3\xb2\xa1\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00")
	for i, mac := range []string{"\x02\x00\x00\x00\x00\x01", "\x02\x00\x00\x00\x00\x02"} {
		frame := mac + mac + "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x02" + mac + "\x0a\x00\x00" + string(rune(i+1)) + mac + "\x0a\x00\x00\x09"
		b = binary.LittleEndian.AppendUint32(b, uint32(i+1))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(frame)))
		b = append(b, frame...)
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "two-machines")
	for _, err := range []error{
		os.Mkdir(folder, 0o755), os.WriteFile(filepath.Join(folder, "input.pcap"), b, 0o600),
		os.WriteFile(filepath.Join(folder, "want.json"), []byte(want), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const twoMachines = `[{"ip": "10.0.0.1", "mac": "02:00:00:00:00:01", "packet": 1, "source": "arp"}, {"ip": "10.0.0.2", "time": "1970-01-01T00:00:02Z"}]`

// A case of an observer: facts in, sightings out.
func TestCasesOfAnObserver(t *testing.T) {
	p := onlookerPlugin(sdk.Subscription{Facts: []string{sdk.FactsARP}})
	Cases(t, p, caseOf(t, twoMachines))
	for want, says := range map[string]string{
		strings.Replace(twoMachines, "10.0.0.2", "10.0.0.3", 1): "sighting 1 differs at .ip",
		"[]": "2 sightings, want 0",
	} {
		cases, err := kit.ReadCases(t.Context(), caseOf(t, want), p.Subscription)
		if errors.Is(err, kit.ErrNoCommand) {
			t.Skip(err)
		}
		if err != nil || len(cases) != 1 {
			t.Fatalf("%d cases, %v", len(cases), err)
		}
		o := Options{}.kit()
		o.Cases = cases
		for _, d := range kit.Checks(p.Kind) {
			if d.ID != "cases" {
				continue
			}
			if c := d.Run(t.Context(), Options{}.subject(t, p), o); c.Outcome != kit.Fail || !strings.Contains(c.Detail, says) {
				t.Errorf("%s: %+v", says, c)
			}
		}
	}
}

// An observer without a case is not at gold; a discovery that is shown no records needs none.
func TestWhoNeedsCases(t *testing.T) {
	for _, d := range kit.Checks(sdk.KindDiscovery) {
		if d.ID != "cases" {
			continue
		}
		c := d.Run(t.Context(), Options{}.subject(t, onlookerPlugin(sdk.Subscription{Facts: []string{sdk.FactsARP}})), kit.Options{})
		if c.Outcome != kit.Skip || !c.Lacking {
			t.Errorf("an observer: %+v", c)
		}
		if c = d.Run(t.Context(), Options{}.subject(t, plugin(sdk.KindDiscovery, "")), kit.Options{}); c.Outcome != kit.Skip || c.Lacking {
			t.Errorf("a discovery: %+v", c)
		}
		return
	}
	t.Error("there is no check of cases")
}
