package traffic

import (
	"context"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// TestWhatALiveWorkerMaySay gives facts that were asked for, that were not, and more at once than may be.
func TestWhatALiveWorkerMaySay(t *testing.T) {
	live, err := NewLive(LiveConfig{Socket: packetsocket.Config{Interface: "lo"}})
	if err != nil {
		t.Fatal(err)
	}
	wanted := Wanted{Facts: []string{sdk.FactsDNS}}
	for says, frame := range map[string][]byte{
		"":                       records.AppendFacts(nil, []sdk.DNS{{Query: "example.com"}}),
		"which nobody asked for": records.AppendFacts(nil, []sdk.ARP{{Operation: "request"}}),
		"of kind \"\"":           []byte("PKRW but not quite"),
		"more than the":          records.AppendFacts(nil, []sdk.DNS{{Query: strings.Repeat("x", records.MaxFacts)}}),
	} {
		kept := &kinds{}
		err := live.facts(t.Context(), records.Parcel{Frame: frame}, kept, wanted)
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) || len(kept.list) != 0 && says != "" {
			t.Errorf("%q: %v, kept %v", says, err, kept.list)
		}
	}
}

// kinds keeps the kinds of the facts that it is given.
type kinds struct{ list []string }

func (*kinds) Flows(context.Context, records.Parcel) error { return nil }
func (*kinds) Close(context.Context, bool) error           { return nil }
func (k *kinds) Facts(_ context.Context, kind string, _ records.Parcel) error {
	k.list = append(k.list, kind)
	return nil
}
