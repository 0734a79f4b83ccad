package server_test

import (
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry/server"
)

// A flood of reports about one plugin keeps nobody from warning of another, and ends when somebody has read them.
func TestAFloodOfReports(t *testing.T) {
	r := shop(t)
	s := open(t, r)
	report := func(s *server.Server, id string) error {
		return s.Report(t.Context(), server.Report{ID: id, Reason: "spam", Text: "No."})
	}
	taken := 0
	for ; taken < 1000; taken++ {
		if err := report(s, "acme/snmp"); err != nil {
			if !strings.Contains(err.Error(), "read those they have") {
				t.Fatal(err)
			}
			break
		}
	}
	if taken != 200 {
		t.Errorf("%d reports about one plugin were taken", taken)
	}
	other := ""
	front, err := s.Front(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range front.New {
		if h.ID != "acme/snmp" {
			other = h.ID
		}
	}
	if err := report(s, other); err != nil {
		t.Errorf("about %s: %v", other, err)
	}
	if err := server.ClearReports(r.Dir); err == nil {
		t.Error("they were forgotten under a server that runs")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.ClearReports(r.Dir); err != nil {
		t.Fatal(err)
	}
	if got, err := server.ReadReports(r.Dir); err != nil || len(got) != 0 {
		t.Errorf("%d are left, %v", len(got), err)
	}
	if err := report(open(t, r), "acme/snmp"); err != nil {
		t.Errorf("after somebody has read them: %v", err)
	}
}
