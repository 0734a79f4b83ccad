package store

import "testing"

// A note about an incident that went into another one meanwhile is a note about that one.
func TestANoteDuringAMergeIsSeen(t *testing.T) {
	c, _ := openControl(t)
	for _, i := range []Incident{{ID: "old"}, {ID: "young", MergedInto: "old"}} {
		i.Tenant, i.State = "default", IncidentOpen
		must(t, putIncident(t.Context(), c.writer, i))
	}
	n, err := c.AddIncidentNote(t.Context(), IncidentNote{Tenant: "default", IncidentID: "young", Text: "seen", By: "user:ada"})
	if err != nil || n.IncidentID != "old" {
		t.Fatalf("%+v, %v", n, err)
	}
	if list, err := c.IncidentNotes(t.Context(), "default", "old"); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.AddIncidentNote(t.Context(), IncidentNote{Tenant: "default", IncidentID: "none", Text: "lost", By: "user:ada"}); err == nil {
		t.Error("a note about nothing is kept")
	}
}
