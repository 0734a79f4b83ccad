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

// Of two sources that disagree both are kept, until one of them comes round or was silent for long.
func TestDisagreement(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	facts := map[string]Fact{}
	say := func(source, value string, confidence float64, after time.Duration) (believed, other string) {
		learn(facts, "os", Fact{Value: value, Source: source, Confidence: confidence, Time: at.Add(after)})
		f := facts["os"]
		return f.Source + " " + f.Value, f.Other.Source + " " + f.Other.Value
	}
	for i, step := range []struct {
		source, value   string
		confidence      float64
		after           time.Duration
		believed, other string
	}{
		{"a", "linux", 0.5, 0, "a linux", " "},
		{"b", "windows", 0.8, time.Minute, "b windows", "a linux"},
		{"b", "windows", 0.8, 2 * time.Minute, "b windows", "a linux"},
		{"a", "darwin", 0.5, 3 * time.Minute, "b windows", "a darwin"},
		{"a", "windows", 0.5, 4 * time.Minute, "b windows", " "},
		{"a", "linux", 0.5, 5 * time.Minute, "b windows", "a linux"},
		{"b", "windows", 0.8, 48 * time.Hour, "b windows", " "},
	} {
		if believed, other := say(step.source, step.value, step.confidence, step.after); believed != step.believed || other != step.other {
			t.Errorf("step %d: believes %q against %q, want %q against %q", i, believed, other, step.believed, step.other)
		}
	}
}
