package ot

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/picketwatch/picket/sdk"
)

// The risk of each rule when the plant does as it always did.
var risks = map[string]int{
	RuleWrite: 20, RuleCommand: 25, RuleStart: 50, RuleStop: 75, RuleRestart: 75, RuleDownload: 75, RuleUpload: 50, RuleSilence: 50,
	RuleProbe: 55, RuleSurvey: 20, RuleMaster: 50, RuleFunction: 25, RuleFlood: 60,
}

// What makes an act more than its kind adds to the risk.
var worse = [...]int{usual: 0, unused: 15, intruding: 25, moved: 25, foreign: 20}

// How sure a finding is: that somebody asked for an act is read off the wire, what it means is not.
var sureness = map[string]float64{RuleProbe: 0.7, RuleSurvey: 0.6, RuleMaster: 0.7, RuleFunction: 0.5, RuleFlood: 0.7}

const (
	surelyDone  = 0.95
	surelyAsked = 0.85
	surelyTried = 0.7 // the device refused
)

var techniques = func() map[string][]string {
	out := map[string][]string{}
	for _, r := range Plugin().Rules {
		out[r.ID] = r.Techniques
	}
	return out
}()

var severities = [...]sdk.Severity{ordinary: sdk.SeverityLow, notable: sdk.SeverityMedium, dangerous: sdk.SeverityHigh}

// finding puts an incident into words, with its evidence.
func (o *incident) finding() sdk.Finding {
	f := sdk.Finding{
		Detector: "picket/ot", Rule: o.rule, Techniques: o.techniques(), Severity: severities[o.weight()], Risk: o.risk(), Confidence: o.confidence(),
		Src: o.from.String(), Dst: o.at.String(), Start: ofTime(o.start), End: ofTime(o.end),
		Packets: slices.Clone(o.packets), Flows: o.refs(), Summary: o.summary(),
		Features: map[string]float64{"messages": float64(o.count)},
	}
	if o.answered() {
		f.Features["done"], f.Features["refused"] = float64(o.done), float64(o.refused)
	}
	if len(o.units) > 1 {
		f.Features["units"] = float64(len(o.units))
	}
	if len(o.spread) > 0 {
		f.Features["devices"] = float64(len(o.spread))
	}
	return f
}

// inVain reports whether the device refused all of it.
func (o *incident) inVain() bool { return o.refused > 0 && o.done == 0 }

// weight is the gravity, one less when the device refused.
func (o *incident) weight() grave {
	if o.inVain() && o.grave == dangerous {
		return notable
	}
	return o.grave
}

func (o *incident) risk() int {
	risk := risks[o.rule] + worse[o.why]
	if o.grave == ordinary {
		risk = min(risk, 25)
	}
	if o.inVain() {
		risk -= 15
	}
	return max(5, min(risk, 100))
}

func (o *incident) confidence() float64 {
	if sure, known := sureness[o.rule]; known {
		return sure
	}
	sure := surelyAsked
	switch {
	case o.done > 0:
		sure = surelyDone
	case o.refused > 0:
		sure = surelyTried
	}
	if o.why == intruding {
		sure *= 0.7 // it may be a master that only writes
	}
	return math.Round(sure*100) / 100
}

// techniques are those of the rule, and of whoever acts without being a master. They belong to the finding's identity, so they stay
// when a host is cleared.
func (o *incident) techniques() []string {
	out := slices.Clone(techniques[o.rule])
	more := func(id string) {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	if o.rule == RuleWrite && (o.why == foreign || o.intruded) {
		more("T0855")
	}
	if o.why == foreign {
		more("T0848")
	}
	if o.rule == RuleCommand {
		more("T0836")
	}
	return out
}

func (o *incident) refs() []sdk.FlowRef {
	out := []sdk.FlowRef{}
	src, dst := o.from.addr(), o.at.host.addr()
	if o.reversed {
		src, dst = dst, src
	}
	if !src.IsValid() || !dst.IsValid() {
		return out
	}
	for i := range o.flows {
		out = append(out, o.flows[i].Full(src, dst, o.proto))
	}
	return out
}

// deeds are what a rule says that a host did.
var deeds = map[string]string{
	RuleWrite: "wrote to", RuleCommand: "gave a command to", RuleStart: "started", RuleStop: "stopped", RuleRestart: "restarted", RuleDownload: "loaded or removed a program of",
	RuleUpload: "read the program of", RuleSilence: "silenced",
}

var tries = map[string]string{
	RuleWrite: "tried to write to", RuleCommand: "tried to give a command to", RuleStart: "tried to start", RuleStop: "tried to stop", RuleRestart: "tried to restart",
	RuleDownload: "tried to load or remove a program of", RuleUpload: "tried to read the program of", RuleSilence: "tried to silence",
}

func (o *incident) summary() string {
	by, on := o.from.String(), o.at.String()
	if on == "" && o.rule != RuleSurvey {
		on = fmt.Sprintf("%d more devices", len(o.spread))
	}
	switch o.rule {
	case RuleProbe:
		return fmt.Sprintf("%s probes %s (%s): the device refused most of what it was asked for, %s", by, on, o.protocol, times(o.count))
	case RuleSurvey:
		return fmt.Sprintf("%s asked %d devices what they are (%s)", by, len(o.spread), o.protocol)
	case RuleMaster:
		return fmt.Sprintf("%s speaks to %s (%s) and is none of its masters", by, on, o.protocol)
	case RuleFunction:
		return fmt.Sprintf("%s uses %s on %s (%s), which nobody used before", by, o.name, on, o.protocol)
	case RuleFlood:
		return fmt.Sprintf("%s sends commands to %s (%s: %s) without waiting for an answer", by, on, o.protocol, o.name)
	}
	verb := deeds[o.rule]
	if o.inVain() {
		verb = tries[o.rule]
	}
	text := fmt.Sprintf("%s %s %s (%s: %s%s) %s", by, verb, on, o.protocol, o.name, o.target(), times(o.count))
	switch {
	case o.inVain():
		text += ", refused"
	case o.refused > 0:
		text += fmt.Sprintf(", %d refused", o.refused)
	}
	return text + reasons[o.why]
}

var reasons = [...]string{
	usual: "", unused: "; nobody used this function before", intruding: "; others poll the device, this host began by writing",
	moved: "; the device had another address", foreign: "; it is none of the device's masters",
}

// target is what was acted on first, where the protocol says so.
func (o *incident) target() string {
	unit := ""
	if len(o.units) == 1 {
		unit = ", unit " + o.units[0]
	} else if len(o.units) > 1 {
		unit = fmt.Sprintf(", %d units", len(o.units))
	}
	if o.object == "" {
		return unit
	}
	if o.rule != RuleWrite && o.rule != RuleCommand {
		return " " + o.object + unit
	}
	return " " + o.object + " " + strconv.FormatUint(o.address, 10) + unit
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
