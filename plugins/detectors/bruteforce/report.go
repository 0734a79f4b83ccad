package bruteforce

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// slow is how far apart failures are, on average, that may come from a program with an old password.
const slow = int64(time.Minute)

// judge reports a source that stands out: when it begins to, each time its failures have doubled, and at the end when it has
// grown. Its findings have the same id as long as it has the same destination.
func (d *Detector) judge(s *source, final bool, sink sdk.FindingSink) error {
	hosts, excess := s.hosts(), float64(s.best)
	if hosts >= d.cfg.SprayHosts {
		excess = float64(s.sum)
	}
	if excess /= float64(d.cfg.Failures); excess < 1 {
		return nil
	}
	grown := s.failures > s.told.failures || s.worked > s.told.worked
	if !grown || s.told.rule != 0 && !final && s.failures < 2*s.told.failures {
		return nil
	}
	rule := s.told.rule
	if rule == 0 {
		rule = 1
		if hosts >= d.cfg.SprayHosts || s.users() >= uint32(d.cfg.SprayUsers) && s.failures <= pardon*s.users() {
			rule = 2
		}
	}
	dst := s.dst()
	if s.told.rule != 0 && dst != s.told.dst && s.failures < 2*s.told.failures && s.worked == s.told.worked {
		return nil
	}
	s.told = told{rule: rule, failures: s.failures, worked: s.worked, dst: dst}
	return sink.Finding(s.finding(rules[rule-1], dst, hosts, excess))
}

// hosts is on how many hosts the source failed without making up for it.
func (s *source) hosts() (n int) {
	for i := range s.targets {
		if s.targets[i].peak > 0 {
			n++
		}
	}
	return n
}

// users is how many names it tried at the target where it tried most.
func (s *source) users() (n uint32) {
	for i := range s.targets {
		n = max(n, s.targets[i].users)
	}
	return n
}

// stale reports whether the failures may be those of a program with an old password: of one account at one place, and slow.
func (s *source) stale() bool {
	return len(s.targets) == 1 && s.users() == 1 && s.worked == 0 && (s.last-s.first)/int64(max(s.failures-1, 1)) >= slow
}

// confidenceOf is half at the threshold, three quarters at twice the threshold, and so on.
func confidenceOf(excess float64) float64 { return round(min(0.99, 1-math.Exp2(-excess)), 2) }

func (s *source) finding(rule, dst string, hosts int, excess float64) sdk.Finding {
	confidence := confidenceOf(excess)
	severity := sdk.SeverityMedium
	switch {
	case s.worked > 0:
		severity = sdk.SeverityHigh
	case s.stale():
		severity, confidence = sdk.SeverityLow, round(confidence/2, 2)
	}
	out := sdk.Finding{
		Detector: "picket/bruteforce", Rule: rule, Severity: severity, Risk: int(math.Round(25 + 50*confidence)), Confidence: confidence,
		Techniques: techniquesOf(rule, s.key.service), Src: s.key.addr.Addr().String(), Dst: dst,
		Start: time.Unix(0, s.first).UTC(), End: time.Unix(0, s.last).UTC(), Packets: slices.Sorted(slices.Values(s.packets)), Flows: []sdk.FlowRef{},
		Features: map[string]float64{
			"failures": float64(s.failures), "worked": float64(s.worked), "users": float64(s.users()), "hosts": float64(hosts),
			"duration_seconds": round(float64(s.last-s.first)/1e9, 3),
		},
		Summary: s.summary(rule, hosts),
	}
	if s.worked > 0 {
		out.Risk += 20 // somebody may be in
	}
	for _, r := range s.refs {
		full := s.full(r)
		out.Flows = append(out.Flows, full.Full(s.key.addr.Addr(), s.targets[r.target].addr.Addr(), s.proto))
	}
	return out
}

// techniquesOf adds stuffing (passwords that leaked elsewhere) where it is done: how it differs from spraying does not show
// without the passwords.
func techniquesOf(rule string, s service) []string {
	switch {
	case rule == RuleSpraying && (s == httpAuth || s == httpForm || s == imap || s == pop3 || s == smtp):
		return []string{"T1110.003", "T1110.004"}
	case rule == RuleSpraying:
		return []string{"T1110.003"}
	}
	return []string{"T1110.001"}
}

func (s *source) summary(rule string, hosts int) string {
	on := s.targets[0].addr.Addr().String()
	if hosts > 1 {
		on = fmt.Sprintf("%d hosts", hosts)
		if in := s.dst(); in != "" {
			on += " in " + in
		}
	}
	tried := plural(int(s.failures+s.worked), "password")
	switch users := s.users(); {
	case s.key.service == snmp:
		tried = plural(int(s.failures), "community", "communities")
	case rule == RuleSpraying && users > 1:
		tried = fmt.Sprintf("%d names (%s)", users, s.someNames(int(users)))
	case users == 1 && len(s.names) == 1:
		tried += " of " + s.names[0]
	case users > 1:
		tried += fmt.Sprintf(" of %d accounts (%s)", users, s.someNames(int(users)))
	}
	text := fmt.Sprintf("%s tried %s against %s on %s within %s", s.key.addr.Addr(), tried, names[s.key.service], on, within(s.last-s.first))
	switch {
	case s.worked > 0:
		text += fmt.Sprintf(", %d may have worked", s.worked)
	case s.stale():
		text += ", as a program with an old password does too"
	default:
		text += ", none worked"
	}
	return text
}

func (s *source) someNames(of int) string {
	text := strings.Join(s.names[:min(3, len(s.names))], ", ")
	if of > 3 {
		text += ", ..."
	}
	return text
}

func plural(n int, one string, many ...string) string {
	switch {
	case n == 1:
		return "1 " + one
	case len(many) > 0:
		return fmt.Sprint(n, " ", many[0])
	}
	return fmt.Sprint(n, " ", one, "s")
}

// dst is the only target, or the network that holds all of them, or nothing.
func (s *source) dst() string {
	t := &s.targets[0]
	first := t.addr.Addr()
	if len(s.targets) == 1 {
		return netip.AddrPortFrom(first, t.port).String()
	}
	bits, same := 24, true
	if first.Is6() {
		bits = 64
	}
	network, err := first.Prefix(bits)
	if err != nil {
		return ""
	}
	for i := range s.targets[1:] {
		a := s.targets[i+1].addr.Addr()
		same = same && a == first
		if !network.Contains(a) {
			return ""
		}
	}
	if same {
		return first.String()
	}
	return network.String()
}

// judgeVictim reports a service that many sources fail at, each below the threshold.
func (d *Detector) judgeVictim(v *victim, final bool, sink sdk.FindingSink) error {
	excess := min(float64(v.sources)/float64(d.cfg.Sources), float64(v.score)/float64(2*d.cfg.Failures))
	if excess < 1 || v.score <= v.told.failures || v.told.rule != 0 && !final && v.score < 2*v.told.failures {
		return nil
	}
	v.told = told{rule: 3, failures: v.score}
	confidence := confidenceOf(excess)
	return sink.Finding(sdk.Finding{
		Detector: "picket/bruteforce", Rule: RuleDistributed, Severity: sdk.SeverityMedium, Risk: int(math.Round(25 + 50*confidence)), Confidence: confidence,
		Techniques: techniquesOf(RuleDistributed, v.key.service), Dst: netip.AddrPortFrom(v.addr(), v.port).String(),
		Start: time.Unix(0, v.first).UTC(), End: time.Unix(0, v.last).UTC(), Packets: slices.Sorted(slices.Values(v.packets)), Flows: []sdk.FlowRef{},
		Features: map[string]float64{"sources": float64(v.sources), "failures": float64(v.score), "duration_seconds": round(float64(v.last-v.first)/1e9, 3)},
		Summary: fmt.Sprintf("%d hosts tried %s against %s on %s within %s", v.sources, plural(int(v.score), "password"), names[v.key.service], v.addr(),
			within(v.last-v.first)),
	})
}

func (v *victim) addr() netip.Addr {
	a := v.key.addr
	return a.Addr()
}

func round(v float64, digits int) float64 {
	scale := math.Pow10(digits)
	return math.Round(v*scale) / scale
}
