package core

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/alert"
	"github.com/picketwatch/picket/sdk"
)

// What is recorded comes together by itself, without what is suppressed.
func TestFindingsBecomeAnIncident(t *testing.T) {
	s := start(t, Config{Settings: settings(filepath.Join(t.TempDir(), "data")), Programs: programs(t, nil)})
	at := time.Now()
	_, err := s.control.AddSuppression(t.Context(), store.Suppression{Tenant: s.tenant, Rule: "noise", Reason: "known", Expires: at.Add(time.Hour)})
	check(t, err)
	finding := func(id, rule, src, dst, technique string) sdk.Finding {
		return sdk.Finding{ID: id, Detector: "picket/x", Rule: rule, Src: src, Dst: dst, Severity: sdk.SeverityHigh, Risk: 60, Confidence: 0.5,
			Techniques: []string{technique}, Start: at, End: at, Summary: "found"}
	}
	check(t, s.alerts.Record(t.Context(), alert.Source{Tenant: store.DefaultTenant, Capture: "cap"}, []sdk.Finding{finding("1", "guess", "10.0.0.66", "10.0.0.20:22", "T1110"),
		finding("2", "beacon", "10.0.0.20", "203.0.113.9:443", "T1071"), finding("3", "noise", "10.0.0.66", "10.0.0.20", "T1046")}))
	check(t, s.incidents.Settle(t.Context()))
	list, _, err := s.control.ListIncidents(t.Context(), s.tenant, store.IncidentFilter{}, store.Page{})
	check(t, err)
	const want = "10.0.0.20 called home, against 203.0.113.9; then 10.0.0.66 guessed passwords, against 10.0.0.20"
	if len(list) != 1 || list[0].Alerts != 2 || list[0].Risk != 70 || list[0].Title != want {
		t.Errorf("%+v", list)
	}
	kept, err := s.control.ListSuppressions(t.Context(), s.tenant)
	check(t, err)
	if kept[0].Hits != 1 {
		t.Errorf("%+v", kept)
	}
}
