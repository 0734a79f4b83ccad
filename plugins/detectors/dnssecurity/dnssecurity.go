// Package dnssecurity finds attacks with DNS and on it.
//
// In go DNS messages, out come findings of seven rules, each about something that ordinary use of DNS does not do: large answers
// again and again to one address, names that fail by the dozen, one name in many unrelated networks, a name that moves from
// outside to inside. README.md has the reasoning and where each threshold comes from.
//
// The reading path: floods.go looks at large answers; failures.go at names that do not exist; addresses.go at where names
// point; listed.go at what the operator has listed.
package dnssecurity

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// The rules.
const (
	RuleAmplification = "amplification"
	RuleRandomNames   = "random-names"
	RuleFailures      = "failures"
	RuleFastFlux      = "fast-flux"
	RuleRebinding     = "rebinding"
	RuleBlocked       = "blocked-name"
	RuleResolver      = "resolver"
)

func init() { sdk.Register(Plugin()) }

// techniques of each rule.
var techniques = map[string][]string{
	RuleAmplification: {"T1498.002"},
	RuleRandomNames:   {"T1499.002", "T1498"},
	RuleFailures:      {"T1568.002"},
	RuleFastFlux:      {"T1568.001"},
	RuleRebinding:     {"T1189"},
	RuleBlocked:       {"T1071.004"},
	RuleResolver:      {"T1071.004", "T1583.002"},
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	rule := func(id, purpose string, severity sdk.Severity, falsePositives ...string) sdk.Rule {
		return sdk.Rule{ID: id, Purpose: purpose, Techniques: techniques[id], Severity: severity, FalsePositives: falsePositives}
	}
	return sdk.Plugin{
		ID:      "picket/dnssecurity",
		Kind:    sdk.KindDetector,
		Summary: "Finds attacks with DNS and on it, such as amplification, floods of random names, fast flux and rebinding.",
		Rules: []sdk.Rule{
			rule(RuleAmplification, "An address was sent the same large answer again and again within a minute.", sdk.SeverityHigh,
				"A load test of a name server."),
			rule(RuleRandomNames, "Many different names below one domain failed within minutes; half as many within a minute are low.", sdk.SeverityHigh,
				"A resolver through which a large site asks for names below its own domain that are gone."),
			rule(RuleFailures, "Most names that a client asked for failed, in many domains, within minutes.", sdk.SeverityMedium,
				"A crawler with a list of domains that are gone.", "An authority's servers are out of reach while a program goes through a list."),
			rule(RuleFastFlux, "A name with a short life pointed to many addresses in unrelated networks.", sdk.SeverityMedium,
				"Names of volunteers' machines, such as pools of time servers and seeds of peer-to-peer networks."),
			rule(RuleRebinding, "A public name pointed to a public address and, soon after, from the same server, to an inner one.", sdk.SeverityMedium,
				"A resolver that answers from two views by turns."),
			rule(RuleBlocked, "A client asked for a name that the operator has listed.", sdk.SeverityHigh),
			rule(RuleResolver, "A client asked a resolver that the operator has not listed.", sdk.SeverityLow,
				"Devices with a built-in resolver."),
		},
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsDNS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	LargeAnswers int      `json:"large_answers" default:"30" min:"5" max:"1000000" doc:"How many large answers to one address within a minute are amplification; a third of them when the question is ANY."`
	FailingNames int      `json:"failing_names" default:"50" min:"10" max:"1000000" doc:"How many different names fail within five minutes until that is a flood."`
	Ignore       []string `json:"ignore" default:"pool.ntp.org,spamhaus.org,surbl.org,uribl.com,spamcop.net,barracudacentral.org,mailspike.net,dnswl.org,msbl.org,nip.io,sslip.io,lvh.me,plex.direct" doc:"Domains whose names may fail, point to many networks, or point inside."`
	Blocked      []string `json:"blocked" max:"4096" doc:"Domains that nobody should ask for, with everything below them."`
	Resolvers    []string `json:"resolvers" format:"cidr" doc:"Resolvers that clients may ask. Without any, all may be asked."`
	MaxEntries   int      `json:"max_entries" default:"4096" min:"64" max:"1000000" doc:"How many floods, domains, clients, names and listed names are remembered, each; those quiet for longest are forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg             Config
	host            sdk.Host
	ignore, blocked map[string]bool
	resolvers       []netip.Prefix
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	floods  recent.Table[floodKey, *flood]
	domains recent.Table[uint64, *domain]
	askers  recent.Table[bare.Addr, *asker]
	names   recent.Table[uint64, *name]
	listed  recent.Table[listedKey, *listed]
}

func newMemory(limit int) memory {
	return memory{
		floods:  recent.New[floodKey, *flood](limit),
		domains: recent.New[uint64, *domain](limit),
		askers:  recent.New[bare.Addr, *asker](limit),
		names:   recent.New[uint64, *name](limit),
		listed:  recent.New[listedKey, *listed](limit),
	}
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.resolvers = host, nil
	d.ignore, d.blocked = domains(d.cfg.Ignore), domains(d.cfg.Blocked)
	for _, text := range d.cfg.Resolvers {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "resolvers: %w", fmt.Errorf("%q: %w", text, err))
		}
		d.resolvers = append(d.resolvers, p.Masked())
	}
	d.memory = newMemory(d.cfg.MaxEntries)
	return nil
}

func domains(list []string) map[string]bool {
	out := map[string]bool{}
	for _, one := range list {
		out[strings.ToLower(strings.Trim(one, "."))] = true
	}
	return out
}

// below returns the listed domain that a name in lower case is, or lies below, or "".
func below(list map[string]bool, name string) string {
	if len(list) == 0 {
		return ""
	}
	for at := len(name); at > 0; {
		at = strings.LastIndexByte(name[:at], '.')
		if domain := name[at+1:]; list[domain] {
			return domain
		}
	}
	return ""
}

// Inspect takes messages one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DNS {
		m := &batch.DNS[i]
		if m.Protocol != sdk.FactsDNS || m.Questions == 0 || m.Opcode != 0 {
			continue
		}
		look := d.question
		if m.Response {
			look = d.answer
		}
		if err := look(m, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (d *Detector) question(m *sdk.DNS, sink sdk.FindingSink) error {
	if d.floods.Len() > 0 {
		d.asked(m)
	}
	if err := d.lookUp(m, sink); err != nil {
		return err
	}
	return d.resolve(m, sink)
}

func (d *Detector) answer(m *sdk.DNS, sink sdk.FindingSink) error {
	if large(m) {
		if err := d.flood(m, sink); err != nil {
			return err
		}
	}
	if m.QType == typeA && m.RCode == 0 && len(m.Answers) > 0 {
		if err := d.points(m, sink); err != nil {
			return err
		}
	}
	return d.fails(m, sink)
}

// Flush reports what has grown and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for _, tell := range []func(sdk.FindingSink) error{d.tellFloods, d.tellFailures, d.tellNames, d.tellListed} {
		if err := tell(sink); err != nil {
			return err
		}
	}
	if n := d.floods.Forgotten + d.domains.Forgotten + d.askers.Forgotten + d.names.Forgotten + d.listed.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Info("what was quiet for longest was forgotten; raise max_entries to remember more", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxEntries)
	return nil
}

// grown reports whether there is something new to tell: a first time, twice as much, and at the end anything more.
func grown(now, reported uint64, final bool) bool {
	if final {
		return now > reported
	}
	return now >= 2*reported
}
