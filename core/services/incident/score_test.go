package incident

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

var day = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// said is an alert of so many minutes after noon.
func said(minute int, rule, src, dst string, risk int, confidence float64, techniques ...string) store.IncidentAlert {
	at := day.Add(time.Duration(minute) * time.Minute)
	return store.IncidentAlert{Alert: store.Alert{ID: rule + src + dst, Tenant: store.DefaultTenant, Detector: "test/d", Rule: rule, Src: src, Dst: dst,
		Severity: sdk.SeverityMedium, Risk: risk, Confidence: confidence, Techniques: techniques, Title: "title of " + rule, FirstSeen: at, LastSeen: at.Add(time.Minute)}}
}

func judged(a store.IncidentAlert, verdict string) store.IncidentAlert {
	a.Verdict = verdict
	return a
}

func prior(a store.IncidentAlert, yes, no, benign int) store.IncidentAlert {
	a.True, a.False, a.Benign = yes, no, benign
	return a
}

// What judgements changed is said with the risk of before.
func TestWhatJudgementsChanged(t *testing.T) {
	scan := said(0, "scan", "10.0.0.66", "10.0.0.0/24", 72, 0.6, "T1046")
	again := said(1, "scan", "10.0.0.66", "10.0.1.0/24", 60, 0.6, "T1046") // like it: what was judged of both counts once
	for _, c := range []struct {
		name   string
		alerts []store.IncidentAlert
		risk   int
		want   store.IncidentJudged
	}{
		{"nothing", []store.IncidentAlert{scan}, 72, store.IncidentJudged{}},
		{"two alike elsewhere", []store.IncidentAlert{prior(scan, 0, 2, 0), prior(again, 0, 2, 0)}, 36, store.IncidentJudged{Before: 72, False: 2}},
		{"itself", []store.IncidentAlert{judged(scan, store.VerdictBenign)}, 14, store.IncidentJudged{Before: 72, Benign: 1}},
		{"itself and one elsewhere", []store.IncidentAlert{judged(prior(scan, 0, 1, 0), store.VerdictTrue)}, 72, store.IncidentJudged{Before: 72, True: 1, False: 1}},
	} {
		got := Rules{}.Describe(c.alerts)
		if got.Judged != c.want || got.Risk != c.risk {
			t.Errorf("%s: risk %d, %+v", c.name, got.Risk, got.Judged)
		}
	}
}

// Computed by hand from docs/incidents.md.
func TestRiskByHand(t *testing.T) {
	scan := said(0, "scan", "10.0.0.66", "10.0.0.0/24", 50, 0.6, "T1046")
	guess := said(5, "guess", "10.0.0.66", "10.0.0.20", 60, 0.5, "T1110.001")
	list := func(h string) string {
		return map[string]string{"10.0.0.66": "our scanners"}[h]
	}
	for _, c := range []struct {
		name       string
		alerts     []store.IncidentAlert
		harmless   func(string) string
		risk       int
		confidence float64
		line       string
	}{
		// 0.5 × 0.6 = 0.30 is less than the alert by itself: 50.
		{"one alert is worth its risk", []store.IncidentAlert{scan}, nil, 50, 0.6, "never less than the strongest alert by itself: risk 50"},
		// 1 − 0.7 × 0.7 = 0.51 < 60; two stages: 60 + 10.
		{"two rules, two stages", []store.IncidentAlert{scan, guess}, nil, 70, 0.8, "+ 10 for 2 stages: Credential Access, Discovery"},
		// 1 − (1 − 0.8 × 0.9)³ = 1 − 0.28³ = 0.978048; one stage.
		{"three sure rules", []store.IncidentAlert{said(0, "a", "h", "", 80, 0.9, "T1046"), said(0, "b", "h", "", 80, 0.9), said(0, "c", "h", "", 80, 0.9)},
			nil, 98, 0.99, "together: 1 − the product of (1 − part) over 3 rules"},
		{"many alerts of a rule are one piece of evidence", []store.IncidentAlert{said(0, "a", "h", "x", 50, 0.6), said(0, "a", "h", "y", 40, 0.6), said(0, "a", "h", "z", 50, 0.5)},
			nil, 50, 0.6, "the strongest of 3 alerts"},
		// 50 × (0 + 2) / (2 + 2) = 25.
		{"two false alarms before", []store.IncidentAlert{prior(scan, 0, 2, 0)}, nil, 25, 0.3, "× 0.50 (of 2 alerts of this rule and host that were judged, 2 false alarms and 0 benign)"},
		// 50 × (1 + 2) / (2 + 2) = 37.5.
		{"one true, one benign before", []store.IncidentAlert{prior(scan, 1, 0, 1)}, nil, 38, 0.45, "0 false alarms and 1 benign"},
		{"only true before", []store.IncidentAlert{prior(scan, 5, 0, 0)}, nil, 50, 0.6, "risk 50 × confidence 0.60"},
		{"a false alarm is nothing", []store.IncidentAlert{judged(scan, "false")}, nil, 0, 0, "judged a false alarm"},
		// 50 × 0.2 = 10.
		{"benign is little", []store.IncidentAlert{judged(scan, "benign")}, nil, 10, 0.12, "× 0.20 (judged benign)"},
		{"confirmed is sure", []store.IncidentAlert{judged(scan, "true")}, nil, 50, 0.99, "risk 50, confirmed"},
		// 50 × 0.5 = 25.
		{"a harmless host", []store.IncidentAlert{scan}, list, 25, 0.3, `10.0.0.66 is on the list "our scanners"`},
		{"a false alarm adds no stage", []store.IncidentAlert{scan, judged(guess, "false")}, nil, 50, 0.6, "risk 60 × 0.00"},
		// Four stages: 60 + 30; a fifth adds nothing.
		{"the bonus ends", []store.IncidentAlert{guess, said(0, "s", "h", "", 10, 0, "T1046", "T1569", "T1071", "T1048", "T1498")}, nil, 90, 0.5, "+ 30 for 6 stages"},
		{"at most 100", []store.IncidentAlert{said(0, "a", "h", "", 95, 0.9, "T1046", "T1110")}, nil, 100, 0.9, "at most 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			risk, confidence, steps := Rules{Window: Window, Harmless: c.harmless}.weigh(c.alerts)
			if risk != c.risk || math.Abs(confidence-c.confidence) > 1e-9 {
				t.Errorf("risk %d, want %d; confidence %g, want %g", risk, c.risk, confidence, c.confidence)
			}
			if !slices.ContainsFunc(steps, func(s store.IncidentStep) bool { return strings.Contains(s.Why, c.line) }) {
				t.Errorf("no line says %q: %+v", c.line, steps)
			}
			last := steps[len(steps)-2] // before that of the confidence
			if math.Round(last.Value) != float64(c.risk) {
				t.Errorf("the last line comes to %g, the risk is %d", last.Value, c.risk)
			}
		})
	}
}

// However alerts look, one more never lowers risk or confidence, nor does a riskier one.
func TestOneMoreAlertNeverLowersRisk(t *testing.T) {
	alert := rapid.Custom(func(t *rapid.T) store.IncidentAlert {
		a := said(0, rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "rule"), "h", "", rapid.IntRange(0, 100).Draw(t, "risk"),
			rapid.Float64Range(0, 1).Draw(t, "confidence"), rapid.SliceOfN(rapid.SampledFrom([]string{"T1046", "T1110", "T0855", "T1071.001", "T9999"}), 0, 3).Draw(t, "techniques")...)
		a.Verdict = rapid.SampledFrom([]string{"", "", "true", "false", "benign"}).Draw(t, "verdict")
		return prior(a, rapid.IntRange(0, 3).Draw(t, "true"), rapid.IntRange(0, 3).Draw(t, "false"), rapid.IntRange(0, 3).Draw(t, "benign"))
	})
	rapid.Check(t, func(t *rapid.T) {
		alerts := rapid.SliceOfN(alert, 1, 8).Draw(t, "alerts")
		r := Rules{Window: Window}
		risk, confidence, _ := r.weigh(alerts)
		more, surer, _ := r.weigh(append(slices.Clone(alerts), alert.Draw(t, "another")))
		if more < risk || surer < confidence {
			t.Fatalf("risk %d → %d, confidence %g → %g", risk, more, confidence, surer)
		}
		worse := slices.Clone(alerts)
		worse[0].Risk = rapid.IntRange(worse[0].Risk, 100).Draw(t, "worse")
		if more, _, _ := r.weigh(worse); more < risk {
			t.Fatalf("a riskier alert: %d → %d", risk, more)
		}
		if risk < 0 || risk > 100 || confidence < 0 || confidence > maxConfidence {
			t.Fatalf("out of range: %d, %g", risk, confidence)
		}
	})
}

func TestTitles(t *testing.T) {
	high := func(a store.IncidentAlert) store.IncidentAlert { a.Severity = sdk.SeverityHigh; return a }
	for _, c := range []struct {
		want   string
		alerts []store.IncidentAlert
	}{
		{"10.0.0.66 guessed passwords, then ran a program, against 10.0.0.20", []store.IncidentAlert{
			said(9, "exec", "10.0.0.66", "10.0.0.20:445", 80, 1, "T1569.002"), said(1, "guess", "10.0.0.66", "10.0.0.20:22", 60, 1, "T1110.001")}},
		{"10.0.0.66 looked for open services, against 2 hosts", []store.IncidentAlert{
			said(0, "scan", "10.0.0.66", "10.0.0.1", 50, 1, "T1046"), said(0, "scan", "10.0.0.66", "10.0.0.2", 50, 1, "T1046")}},
		{"10.0.0.66 guessed passwords, against 10.0.0.20; then 10.0.0.20 called home, against 203.0.113.9", []store.IncidentAlert{
			said(5, "beacon", "10.0.0.20", "203.0.113.9:443", 70, 1, "T1071.001"), said(0, "guess", "10.0.0.66", "10.0.0.20", 60, 1, "T1110")}},
		{"several hosts flooded, against 10.0.0.5", []store.IncidentAlert{said(0, "dos", "", "10.0.0.5", 60, 1, "T1498")}},
		{"title of odd", []store.IncidentAlert{said(0, "odd", "10.0.0.1", "", 10, 1), said(0, "dull", "10.0.0.1", "", 5, 1)}},
		{"h took credentials, then called home, then sent data out", []store.IncidentAlert{high(said(0, "a", "h", "", 1, 1, "T1003")),
			high(said(1, "b", "h", "", 1, 1, "T1071")), high(said(2, "c", "h", "", 1, 1, "T1048")), said(3, "d", "h", "", 1, 1, "T1498")}},
		{"h ran a program", []store.IncidentAlert{judged(said(0, "a", "g", "", 99, 1, "T1046"), "false"), said(0, "b", "h", "", 1, 1, "T1047")}},
	} {
		if got := (Rules{}).Describe(c.alerts).Title; got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}

func TestTheTableKnowsWhatDetectorsName(t *testing.T) {
	for id, want := range map[string]string{"T1046": "TA0007", "T1110.003": "TA0006", "T0855": "TA0106", "T1053.005": "TA0002", "T1595.002": "TA0043", "T9999": "", "": ""} {
		if got := stageOf(id); got != want {
			t.Errorf("%q is of %q, want %q", id, got, want)
		}
	}
	for id, want := range map[string]bool{"T1046": false, "T1110.001": true, "T1021.002": true, "T1569.002": true, "T1498": false, "T1071": false, "T1558.003": false, "T0843": true, "T9999": false} {
		if leadsOn(id) != want {
			t.Errorf("%s leads on: %v", id, !want)
		}
	}
	for id, x := range techniques() {
		for _, tactic := range x.tactics {
			if !slices.Contains(killChain, tactic) || tacticNames[tactic] == "" {
				t.Errorf("%s is of %q, which has no place in the kill chain", id, tactic)
			}
		}
		if deed(id) == "" {
			t.Errorf("%s has no words", id)
		}
	}
	for id := range deeds {
		if stageOf(id) == "" {
			t.Errorf("there are words for %s, which ATT&CK does not know", id)
		}
	}
}
