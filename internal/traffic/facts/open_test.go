package facts

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/sdk"
)

// A flow that goes on is a message, for who wants messages.
func TestAFlowThatGoesOnIsAMessage(t *testing.T) {
	m, all := gather(t, sdk.FactsMessages)
	f := app.OpenFlow{ID: 7, Client: netip.MustParseAddrPort("10.0.0.9:40000"), Server: netip.MustParseAddrPort("203.0.113.9:22"), Transport: 6, VLAN: 3,
		Packet: 5, Start: 1e9, Time: 61e9, Sent: 5 << 20, Received: 100, Guessed: true}
	m.Engine().TellOpen(&app.Tag{}, &f)
	if err := m.Flush(); err != nil || len(all.Messages) != 1 {
		t.Fatalf("%d messages (%v)", len(all.Messages), err)
	}
	got := all.Messages[0]
	want := map[string]string{"guessed": "true", "received": "100", "sent": "5242880", "start": "1000000000"}
	if got.Protocol != "flow" || got.Name != "open" || got.Flow != 7 || got.Packet != 5 || got.Time.Unix() != 61 || got.Client != f.Client.Addr() || got.ServerPort != 22 ||
		got.VLAN != 3 || got.Proto != 6 || !maps.Equal(got.Fields, want) {
		t.Errorf("%+v", got)
	}
	if other, _ := gather(t, sdk.FactsDNS); other.Engine().WantsOpen() {
		t.Error("flows are looked at for nobody")
	}
}
