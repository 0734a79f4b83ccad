package store

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// What an instance was told is kept, by whom and when, also when it is assigned no more; the oldest goes.
func TestTold(t *testing.T) {
	c, _ := openControl(t)
	put := func(config, by string) {
		t.Helper()
		must(t, c.PutAssignment(t.Context(), Assignment{Tenant: "default", Instance: "picket/a", Plugin: "picket/a", NodeType: NodeServer,
			Config: json.RawMessage(config), CreatedBy: by, Enabled: true}))
	}
	put(`{"n":1}`, "user:ada")
	put(`{"n":1}`, "user:eve") // nothing new
	put(`{"n":2}`, "user:bob")
	must(t, c.DeleteAssignment(t.Context(), "default", "picket/a"))
	list, err := c.ToldOf(t.Context(), "default", "picket/a")
	must(t, err)
	if len(list) != 2 || list[0].Number != 2 || list[0].By != "user:bob" || string(list[1].Config) != `{"n":1}` || list[1].By != "user:ada" || list[0].Created.IsZero() {
		t.Errorf("%+v", list)
	}
	for i := range maxTold + 5 {
		put(fmt.Sprintf(`{"n":%d}`, 10+i), "user:ada")
	}
	list, err = c.ToldOf(t.Context(), "default", "picket/a")
	if err != nil || len(list) != maxTold || list[0].Number != maxTold+7 {
		t.Errorf("%d kept, the newest is %d, %v", len(list), list[0].Number, err)
	}
	if list, err := c.ToldOf(t.Context(), "other", "picket/a"); err != nil || len(list) != 0 {
		t.Errorf("another tenant sees %d, %v", len(list), err)
	}
}

func TestRuleHits(t *testing.T) {
	c, clock := openControl(t)
	for i, rule := range []string{"own/a", "own/a", "own/b"} {
		f := sdk.Finding{ID: fmt.Sprint(i), Detector: "picket/custom-rules", Rule: rule, Start: clock.t, End: clock.t}
		_, err := c.RecordFinding(t.Context(), Finding{Finding: f, Tenant: "default"}, rule, func(open *Alert) (Alert, []Notice) {
			a := Alert{ID: "alert " + rule, Fingerprint: rule, State: "firing", Detector: f.Detector, Rule: rule, Updated: clock.t}
			return a, nil
		})
		must(t, err)
	}
	hits, err := c.RuleHitsSince(t.Context(), "default", "picket/custom-rules", clock.t.Add(-time.Hour))
	if err != nil || len(hits) != 2 || hits[0].Findings != 2 || hits[0].Rule != "own/a" || !hits[1].Last.Equal(clock.t) {
		t.Errorf("%+v, %v", hits, err)
	}
	if hits, err := c.RuleHitsSince(t.Context(), "default", "picket/custom-rules", clock.t.Add(time.Hour)); err != nil || len(hits) != 0 {
		t.Errorf("later: %+v, %v", hits, err)
	}
}
