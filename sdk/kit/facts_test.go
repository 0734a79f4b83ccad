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

func TestWhatTheCommandPrints(t *testing.T) {
	for name, c := range map[string]struct {
		s    sdk.Subscription
		want [][]string
	}{
		"flows":    {sdk.Subscription{Flows: true}, [][]string{{"flows", "--format", "frames"}}},
		"features": {sdk.Subscription{Flows: true, Features: true}, [][]string{{"flows", "--format", "frames", "--features"}}},
		"packets":  {sdk.Subscription{Packets: &sdk.PacketSubscription{Layers: []string{"arp", "dns"}}}, [][]string{{"flows", "--format", "frames", "--packets=arp,dns:256"}}},
		"facts and flows": {sdk.Subscription{Flows: true, Facts: []string{"dns", "tls"}},
			[][]string{{"facts", "--kind", "dns,tls", "--format", "frames"}, {"flows", "--format", "frames"}}},
	} {
		if got := printing(c.s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
