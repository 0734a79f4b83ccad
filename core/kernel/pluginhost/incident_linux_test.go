package pluginhost

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What the host keeps a plugin from is told once, with the reason.
func TestIncidents(t *testing.T) {
	f := upgradable(t, map[string]string{"1.1.0": "flood", "1.2.0": "hungry"}, nil)
	flood := versionedAssignment("flood", "versioned/collector", "1.1.0")
	flood.Limits.RecordsPerSecond = 100
	hungry := versionedAssignment("hungry", "versioned/collector", "1.2.0")
	hungry.Limits.Memory = "100Mi"
	f.apply(flood, hungry)
	for _, instance := range []string{"flood", "hungry"} {
		f.untilState(instance, Ready)
		for range 4 {
			_, _ = f.collect(instance) // it misbehaves from the third call on
		}
	}
	for instance, want := range map[string]struct {
		kind IncidentKind
		text string
	}{"flood": {IncidentLimit, "more than 100 records a second"}, "hungry": {IncidentKilled, "memory, its limit is"}} {
		st := f.until(instance, "an incident", func(s Status) bool { return len(s.Incidents) > 0 })
		if in := st.Incidents[0]; in.Kind != want.kind || !strings.Contains(in.Text, want.text) || in.Time.IsZero() || len(st.Incidents) != 1 {
			t.Errorf("%s: %+v", instance, st.Incidents)
		}
	}
}

func TestIncidentsAreBounded(t *testing.T) {
	f := newFixture(t, nil)
	f.apply(moodyAssignment("m", ""))
	f.untilState("m", Ready)
	s, err := f.supervisor("m")
	if err != nil {
		t.Fatal(err)
	}
	s.incident(IncidentKilled, "its process was ended: it used 300 MiB")
	s.incident(IncidentKilled, "its process was ended: it used 301 MiB")
	s.incident(IncidentPermission, "net.dial 10.0.0.1:22: not granted")
	s.incident(IncidentPermission, "net.dial 10.0.0.2:22: not granted")
	if n := len(s.status().Incidents); n != 3 {
		t.Errorf("%d sorts, want 3", n)
	}
	for i := range 100 {
		s.incident(IncidentPermission, "fs.read /"+strings.Repeat("x", i)+": not granted")
	}
	if n := len(s.status().Incidents); n != maxIncidents+1 { // and the one that was killed
		t.Errorf("%d are kept", n)
	}
	s.incident(IncidentLimit, "cpu: it uses more than 1 cores and is held back")
	if n := len(s.status().Incidents); n != maxIncidents+2 {
		t.Errorf("one kind takes the room of another: %d are kept", n)
	}
}

// A kind that is full still takes what is new, but one at a time.
func TestAFullListOfIncidents(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	var list []Incident
	add := func(kind IncidentKind, text string) bool {
		var ok bool
		list, ok = withIncident(list, Incident{at, kind, text})
		return ok
	}
	add(IncidentKilled, "killed")
	for i := range maxIncidents {
		add(IncidentPermission, fmt.Sprintf("net.dial junk%d: no", i))
	}
	const aim = "net.dial 169.254.169.254:80: no"
	if add(IncidentPermission, aim) {
		t.Error("a burst went beyond the bound")
	}
	at = at.Add(quietTime)
	if !add(IncidentPermission, aim) || add(IncidentPermission, aim) || add(IncidentPermission, "net.dial more: no") {
		t.Errorf("after a minute: %+v", list)
	}
	if len(list) != maxIncidents+1 || list[0].Text != "killed" || list[1].Text != "net.dial junk1: no" || list[maxIncidents].Text != aim {
		t.Errorf("the list is %+v", list)
	}
}
