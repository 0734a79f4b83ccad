package exfil

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/facts"
	flowtable "github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/plugins/detectors/internal/scenario"
	"github.com/picketwatch/picket/sdk"
)

// A slow copy that goes on for six minutes is told within a minute of what is too much, from the packets on.
func TestASlowCopyIsToldFromItsPackets(t *testing.T) {
	const pause, volumes = 100 * time.Millisecond, 4 // of what no parser knows
	s := scenario.New(noon)
	sent := 3600 * segment
	client, server := netip.AddrPortFrom(host(66), s.Port()), netip.AddrPortFrom(outside(7), 4000)
	s.TCP(0, client, server, scenario.SYN, 0, 0)
	s.TCP(time.Millisecond, server, client, scenario.SYN|scenario.ACK, 0, 0)
	for n := range sent / segment {
		s.TCP(time.Duration(n+1)*pause, client, server, scenario.ACK, 1+uint32(n*segment), segment)
	}
	file := filepath.Join(t.TempDir(), "copy.pcap")
	if err := os.WriteFile(file, s.Pcap(), 0o600); err != nil {
		t.Fatal(err)
	}
	tooMuch := noon.Add(time.Duration(volumes*25*mega/segment) * pause)
	d, out := detector(t, "{}"), &sink{}
	maker, err := facts.New(facts.Config{Kinds: []string{sdk.FactsMessages}, Emit: facts.Batches(func(_ string, b *sdk.Batch) error { return d.Inspect(t.Context(), *b, out) })})
	if err != nil {
		t.Fatal(err)
	}
	flows := 0
	_, err = traffic.AnalyzeFile(t.Context(), file, traffic.Options{Flow: flowtable.Config{Apps: maker.Engine()}}, nil, func(list []sdk.Flow) error {
		if err := maker.Flush(); err != nil { // as it happens ten times a second where packets are captured
			return err
		}
		if len(out.findings) == 0 || out.findings[0].End.After(tooMuch.Add(time.Minute)) {
			t.Errorf("the flow is over, and of what was too much at %s is said: %+v", tooMuch, out.findings)
		}
		flows += len(list)
		return d.Inspect(t.Context(), sdk.Batch{Flows: list}, out)
	})
	if err != nil || flows != 1 {
		t.Fatalf("%d flows, %v", flows, err)
	}
	if err := d.Flush(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	if got := out.final(); len(got) != 1 || got[0].Features["sent_bytes"] != float64(sent) || got[0].Features["flows"] != 1 {
		t.Errorf("%+v", got)
	}
}
