package kit

import (
	"reflect"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func TestThereAreSamplesOfAllFacts(t *testing.T) {
	for _, kind := range sdk.FactKinds {
		n := 0
		for _, frame := range sampleFacts(kind, 100) {
			if got := records.SchemaOf(frame).Facts(); got != kind {
				t.Fatalf("%s: a frame of %q", kind, got)
			}
			var d records.BatchDecoder
			if err := records.Verify(frame); err != nil {
				t.Error(err)
			}
			if _, err := d.Decode(frame); err != nil {
				t.Errorf("%s: %v", kind, err)
			}
			n += records.Count(frame)
		}
		if n != factSamples+2 {
			t.Errorf("%s: %d samples", kind, n)
		}
	}
	if sampleFacts("weather", 10) != nil {
		t.Error("samples of facts that do not exist")
	}
}

// Facts and flows come from one reading of the capture, so that a detector is shown them as in production.
func TestWhatTheCommandPrints(t *testing.T) {
	packets := &sdk.PacketSubscription{Layers: []string{"arp", "dns"}, SnapLen: 64}
	for name, c := range map[string]struct {
		s    sdk.Subscription
		want [][]string
	}{
		"flows":    {sdk.Subscription{Flows: true, Features: true}, [][]string{{"flows", "--format", "frames", "--features"}}},
		"facts":    {sdk.Subscription{Facts: []string{"dns", "tls"}}, [][]string{{"facts", "--kind", "dns,tls", "--format", "frames"}}},
		"packets":  {sdk.Subscription{Packets: &sdk.PacketSubscription{}}, [][]string{{"flows", "--format", "frames", "--packets=:256"}}},
		"together": {sdk.Subscription{Flows: true, Facts: []string{"dns"}}, [][]string{{"facts", "--kind", "dns", "--format", "frames", "--flows"}}},
		"all": {sdk.Subscription{Flows: true, Features: true, Facts: []string{"dns"}, Packets: packets}, [][]string{
			{"flows", "--format", "frames", "--packets=arp,dns:64"}, {"facts", "--kind", "dns", "--format", "frames", "--flows", "--features"},
		}},
	} {
		if got := printing(c.s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
