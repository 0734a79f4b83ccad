package incident

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// The weights. docs/incidents.md and the golden cases name the same.
const (
	benignWeight   = 0.2 // of an alert that somebody judged benign though true
	harmlessWeight = 0.5 // of an alert about a host on a list of well-known harmless ones
	trustInRule    = 2.0 // how many confirmed alerts a rule is taken to have before anybody judged it
	perStage       = 10  // for each further stage of the kill chain
	maxStageBonus  = 30
	maxConfidence  = 0.99
	maxLines       = 20 // rules whose part is shown by itself; the others are summed in one line
)

// part is what one rule adds: its strongest alert.
type part struct {
	rule       string
	alerts     int
	value      float64 // 0 to 1
	why        string
	confidence float64
}

// weigh computes risk and confidence and writes down how. With another alert, or a riskier or surer one, neither falls.
func (r Rules) weigh(alerts []store.IncidentAlert) (risk int, confidence float64, steps []store.IncidentStep) {
	parts, strongest, why := r.parts(alerts)
	together, sure := 1.0, 1.0
	for i, p := range parts {
		together *= 1 - p.value
		sure *= 1 - p.confidence
		if i < maxLines {
			steps = append(steps, step("risk", 100*p.value, "%s: %s", p.rule, p.why))
		}
	}
	if more := len(parts) - maxLines; more > 0 {
		rest := 1.0
		for _, p := range parts[maxLines:] {
			rest *= 1 - p.value
		}
		steps = append(steps, step("risk", 100*(1-rest), "%d further rules together", more))
	}
	total := 100 * (1 - together)
	steps = append(steps, step("risk", total, "together: 1 − the product of (1 − part) over %s", count(len(parts), "rule")))
	if strongest > total {
		total = strongest
		steps = append(steps, step("risk", total, "never less than the strongest alert by itself: %s", why))
	}
	if names := r.stageNames(alerts); len(names) > 1 {
		bonus := min(perStage*(len(names)-1), maxStageBonus)
		total += float64(bonus)
		steps = append(steps, step("risk", total, "+ %d for %s: %s", bonus, count(len(names), "stage"), strings.Join(names, ", ")))
	}
	if total > 100 {
		total = 100
		steps = append(steps, step("risk", total, "at most 100"))
	}
	confidence = min(1-sure, maxConfidence)
	steps = append(steps, step("confidence", confidence, "1 − the product of (1 − confidence) over %s, at most %g", count(len(parts), "rule"), maxConfidence))
	return int(math.Round(total)), confidence, steps
}

func step(of string, value float64, format string, args ...any) store.IncidentStep {
	return store.IncidentStep{Of: of, Value: math.Round(value*100) / 100, Why: fmt.Sprintf(format, args...)}
}

// parts are the rules by what they add, largest first, and the risk of the strongest alert by itself with its reason.
// Alerts of one rule are one piece of evidence: a scan of a thousand hosts is no more certain than one of a hundred.
func (r Rules) parts(alerts []store.IncidentAlert) (parts []part, strongest float64, why string) {
	byRule := map[string]*part{}
	for _, a := range alerts {
		name := a.Detector + " " + a.Rule
		p := byRule[name]
		if p == nil {
			p = &part{rule: name, value: -1}
			byRule[name] = p
		}
		p.alerts++
		weight, reasons := r.weight(a)
		sure := a.Confidence
		if a.Verdict == store.VerdictTrue {
			sure = 1
		}
		p.confidence = max(p.confidence, sure*weight)
		risk := float64(a.Risk) * weight
		text := fmt.Sprintf("risk %d", a.Risk)
		if weight != 1 {
			text += fmt.Sprintf(" × %.2f (%s)", weight, strings.Join(reasons, "; "))
		}
		if risk > strongest {
			strongest, why = risk, text
		}
		if value := risk / 100 * sure; value > p.value {
			p.value = value
			if a.Verdict == store.VerdictTrue {
				text += ", confirmed"
			} else {
				text += fmt.Sprintf(" × confidence %.2f", a.Confidence)
			}
			p.why = text
		}
	}
	for _, p := range byRule {
		if p.alerts > 1 {
			p.why += fmt.Sprintf(", the strongest of %d alerts", p.alerts)
		}
		parts = append(parts, *p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(b.value, a.value), strings.Compare(a.rule, b.rule)) })
	return parts, strongest, why
}

// weight is how much of an alert's risk counts, after what people said of it or of others like it.
func (r Rules) weight(a store.IncidentAlert) (weight float64, reasons []string) {
	weight = 1
	switch judged := a.True + a.False + a.Benign; {
	case a.Verdict == store.VerdictFalse:
		return 0, []string{"judged a false alarm"}
	case a.Verdict == store.VerdictBenign:
		weight, reasons = benignWeight, []string{"judged benign"}
	case a.Verdict == "" && a.False+a.Benign > 0:
		weight = (float64(a.True) + trustInRule) / (float64(judged) + trustInRule)
		reasons = []string{fmt.Sprintf("of %s of this rule and host that were judged, %d false alarms and %d benign", count(judged, "alert"), a.False, a.Benign)}
	}
	if r.Harmless == nil || a.Verdict == store.VerdictTrue {
		return weight, reasons
	}
	for _, h := range []string{host(a.Src), host(a.Dst)} {
		if h == "" {
			continue
		}
		if list := r.Harmless(h); list != "" {
			return weight * harmlessWeight, append(reasons, fmt.Sprintf("%s is on the list %q", h, list))
		}
	}
	return weight, reasons
}

// counts reports whether an alert counts at all.
func counts(a store.IncidentAlert) bool { return a.Verdict != store.VerdictFalse }

// stageNames are the stages of the alerts that count, in the order of the kill chain.
func (r Rules) stageNames(alerts []store.IncidentAlert) (names []string) {
	for _, s := range stages(slices.DeleteFunc(slices.Clone(alerts), func(a store.IncidentAlert) bool { return !counts(a) })) {
		if !slices.Contains(names, s.Name) {
			names = append(names, s.Name)
		}
	}
	return names
}

// stages are the tactics that the alerts show, in the order of the kill chain, each with its techniques.
func stages(alerts []store.IncidentAlert) []store.IncidentStage {
	seen := map[string][]string{}
	for _, a := range alerts {
		for _, id := range a.Techniques {
			if tactic := stageOf(id); tactic != "" && !slices.Contains(seen[tactic], id) {
				seen[tactic] = append(seen[tactic], id)
			}
		}
	}
	out := []store.IncidentStage{}
	for _, tactic := range killChain {
		ids := seen[tactic]
		if len(ids) == 0 {
			continue
		}
		slices.Sort(ids)
		s := store.IncidentStage{Tactic: tactic, Name: tacticNames[tactic]}
		for _, id := range ids {
			s.Techniques = append(s.Techniques, store.IncidentTechnique{ID: id, Name: techniques()[id].name})
		}
		out = append(out, s)
	}
	return out
}

// Describe implements store.IncidentRules.
func (r Rules) Describe(alerts []store.IncidentAlert) store.Incident {
	var i store.Incident
	i.Severity = sdk.SeverityInfo
	for _, a := range alerts {
		if counts(a) && a.Severity.Rank() > i.Severity.Rank() {
			i.Severity = a.Severity
		}
	}
	i.Risk, i.Confidence, i.Arithmetic = r.weigh(alerts)
	i.Judged = r.judged(alerts)
	i.Stages = stages(alerts)
	i.Entities = entities(alerts)
	i.EntityCount = len(i.Entities)
	i.Entities = i.Entities[:min(len(i.Entities), maxEntities)]
	i.Title = r.title(alerts)
	return i
}

// judged says what judgements changed: the risk without any, and how many there are of these alerts and of others like them.
func (r Rules) judged(alerts []store.IncidentAlert) (j store.IncidentJudged) {
	type like struct{ detector, rule, entity string }
	counted := map[like]bool{}
	unjudged := slices.Clone(alerts)
	for n, a := range alerts {
		if key := (like{a.Detector, a.Rule, cmp.Or(host(a.Src), host(a.Dst))}); !counted[key] {
			counted[key] = true
			j.True, j.False, j.Benign = j.True+a.True, j.False+a.False, j.Benign+a.Benign
			switch a.Verdict { // the counts leave out the alert's own
			case store.VerdictTrue:
				j.True++
			case store.VerdictFalse:
				j.False++
			case store.VerdictBenign:
				j.Benign++
			}
		}
		u := &unjudged[n]
		u.Verdict, u.True, u.False, u.Benign = "", 0, 0, 0
	}
	if j.Any() {
		j.Before, _, _ = r.weigh(unjudged)
	}
	return j
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
