package traffic

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/sdk"
)

const tapSample = "../../plugins/detectors/portscan/testdata/syn-scan/input.pcap"

// tapped runs a tap over a capture and copies what it gives.
func tapped(t *testing.T, path string, s sdk.PacketSubscription) (got []sdk.Packet, sum Summary) {
	t.Helper()
	tap, err := NewTap(s, func(batch []sdk.Packet) error {
		if len(batch) > tapBatch {
			t.Errorf("a batch of %d", len(batch))
		}
		for _, p := range batch {
			p.Data = slices.Clone(p.Data)
			got = append(got, p)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, err = Analyze(context.Background(), f, Options{Taps: []*Tap{tap}}, func([]sdk.Flow) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got, sum
}

func TestTapGivesEveryPacketAsItIsInTheCapture(t *testing.T) {
	got, sum := tapped(t, tapSample, sdk.PacketSubscription{SnapLen: sdk.MaxSnapLen})
	if uint64(len(got)) != sum.Packets || sum.Packets < 2 {
		t.Fatalf("%d packets of %d", len(got), sum.Packets)
	}
	f, err := os.Open(tapSample)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := capture.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	var p capture.Packet
	for i := range got {
		if err := r.Next(&p); err != nil {
			t.Fatal(err)
		}
		if got[i].Number != p.Number || got[i].Time.UnixNano() != p.Time || got[i].Length != p.Length || !slices.Equal(got[i].Data, p.Data) {
			t.Fatalf("packet %d: %+v", i+1, got[i])
		}
	}
}

func TestTapChoosesAndCuts(t *testing.T) {
	all, _ := tapped(t, tapSample, sdk.PacketSubscription{})
	tcp, _ := tapped(t, tapSample, sdk.PacketSubscription{Layers: []string{"tcp"}, SnapLen: 20})
	udp, _ := tapped(t, tapSample, sdk.PacketSubscription{Layers: []string{"udp", "arp"}})
	if len(tcp) == 0 || len(tcp)+len(udp) > len(all) {
		t.Fatalf("%d of all, %d of tcp, %d of udp and arp", len(all), len(tcp), len(udp))
	}
	for _, p := range tcp {
		if len(p.Data) > 20 {
			t.Fatalf("%+v", p)
		}
	}
}

func TestTapRefuses(t *testing.T) {
	for _, s := range []sdk.PacketSubscription{{Layers: []string{"quic"}}, {SnapLen: -1}, {SnapLen: sdk.MaxSnapLen + 1}} {
		if _, err := NewTap(s, nil); err == nil {
			t.Errorf("%+v was accepted", s)
		}
	}
}

func TestEveryLayerOfTheContractIsKnown(t *testing.T) {
	for _, name := range sdk.PacketLayers {
		if layerNames[name] == 0 {
			t.Errorf("no packet ever counts as %s", name)
		}
	}
}
