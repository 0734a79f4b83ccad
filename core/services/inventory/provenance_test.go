package inventory

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// What an observer saw can be looked up in its capture.
func TestFactsSayWhereTheyWereSeen(t *testing.T) {
	s := sdk.Sighting{
		Time: time.Unix(1, 0), MAC: "00:11:22:33:44:55", Confidence: 0.5, Facts: map[string]string{"os": "RouterOS"},
		Source: "mdns", Capture: "capture-1", Packet: 17,
	}
	d, _ := Merge("picket/passive", s, nil)
	want := Fact{Value: "RouterOS", Source: "picket/passive", Confidence: 0.5, Time: s.Time, Protocol: "mdns", Capture: "capture-1", Packet: 17}
	if d.Facts["os"] != want {
		t.Errorf("%+v, want %+v", d.Facts["os"], want)
	}
	// Somebody surer, who asked the device itself.
	s.Source, s.Capture, s.Packet, s.Confidence, s.Time = "", "", 0, 0.9, time.Unix(2, 0)
	if d, _ = Merge("picket/snmp", s, []Device{d}); d.Facts["os"].Capture != "" || d.Facts["os"].Source != "picket/snmp" {
		t.Errorf("%+v", d.Facts["os"])
	}
}
