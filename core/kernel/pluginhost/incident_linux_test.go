package pluginhost

import (
	"strings"
	"testing"
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
	if n := len(s.status().Incidents); n != maxIncidents {
		t.Errorf("%d are kept", n)
	}
}
