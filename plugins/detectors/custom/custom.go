// Package custom runs an operator's own rules over flows and facts.
//
// In go rules (conditions in CEL with samples of what they must find and what not), flows and facts, out come findings under the
// rule's own id. README.md has the form of rules and examples.
//
// The reading path: read.go reads a file, with places for everything; compile.go checks a rule, by types, by cost and by its
// samples (functions.go has what CEL does not); native.go takes out of a condition what needs no CEL; field.go and fields_gen.go
// are what rules see of a record; run.go judges records and stops who runs away; matter.go counts, merges and tells.
package custom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// The rules: findings of the operator's own have their ids behind the first, as own/dynamic-dns; the other one says which of them was
// switched off.
const (
	RuleOwn     = "own"
	RuleRunaway = "runaway"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/custom-rules",
		Kind:    sdk.KindDetector,
		Summary: "Runs your own rules over flows and what the parsers understood.",
		Rules: []sdk.Rule{
			{ID: RuleOwn, Purpose: "A record fulfilled the condition of a rule that you wrote, whose id stands behind this one.", Severity: sdk.SeverityMedium,
				FalsePositives: []string{"What your rule says of ordinary traffic too."}},
			{ID: RuleRunaway, Purpose: "A rule cost too much and was switched off until the capture ends.", Severity: sdk.SeverityLow,
				FalsePositives: []string{"A rule that is too expensive for this traffic: ask for what is cheap and rare first."}},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: factKinds},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// factKinds are the kinds of facts that rules may look at. What is in files wants a permission of its own and is for rules of YARA.
var factKinds = []string{
	sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP, sdk.FactsSMB, sdk.FactsDHCP, sdk.FactsARP, sdk.FactsOT, sdk.FactsFiles, sdk.FactsLogins, sdk.FactsMessages,
}

// Config is the operator's configuration.
type Config struct {
	Rules      string   `json:"rules" max:"262144" doc:"Your rules, as YAML: the page of this plugin has their form and examples."`
	Files      []string `json:"files" max:"64" doc:"Files with more of them."`
	Kinds      []string `json:"kinds" enum:"dns,tls,http,smb,dhcp,arp,ot,files,logins,messages" doc:"What your rules look at besides flows. Nothing else is shown to them, and a parser that nobody asks does not run."`
	Strict     bool     `json:"strict" default:"false" doc:"Whether one wrong rule keeps all of them from running, instead of being left out."`
	MaxMatters int      `json:"max_matters" default:"16384" min:"64" max:"1000000" doc:"How many findings and counts are remembered; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	refused []Problem

	flows    ruleSet[sdk.Flow]
	dns      ruleSet[sdk.DNS]
	tls      ruleSet[sdk.TLS]
	http     ruleSet[sdk.HTTP]
	smb      ruleSet[sdk.SMB]
	dhcp     ruleSet[sdk.DHCP]
	arp      ruleSet[sdk.ARP]
	ot       ruleSet[sdk.OT]
	files    ruleSet[sdk.File]
	logins   ruleSet[sdk.Login]
	messages ruleSet[sdk.Message]

	memory
}

// memory is what Flush forgets and Snapshot keeps, beside the accounts of rules.
type memory struct {
	matters recent.Table[matterKey, *matter]
	marks   int // of all matters
}

func newMemory(limit int) memory { return memory{matters: recent.New[matterKey, *matter](limit)} }

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start reads the rules. One that is wrong is left out, and said in the log and by Health, unless none may be.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.refused = host, nil
	d.sets(func(s anySet) { s.empty() })
	rules, problems, err := d.load()
	if err != nil {
		return err
	}
	loaded := 0
	byID := map[string]*source{}
	for i := range rules {
		s := &rules[i]
		if other := byID[s.id]; other != nil {
			problems = append(problems, Problem{File: s.file, Line: s.line, Column: 1, Rule: s.id, Text: fmt.Sprintf("%s:%d has a rule of that id", other.file, other.line)})
			continue
		}
		byID[s.id] = s
		if p := d.add(s); len(p) > 0 {
			problems = append(problems, p...)
			continue
		}
		loaded++
	}
	if d.refused = problems; len(problems) > 0 && d.cfg.Strict {
		return sdk.Errorf(sdk.InvalidConfig, "%s", told(problems))
	}
	if host != nil {
		host.Log().Info("read the rules", "loaded", loaded, "problems", len(problems))
		for _, p := range problems[:min(len(problems), maxTold)] {
			host.Log().Warn("a rule is left out", "problem", p.String())
		}
	}
	d.memory = newMemory(d.cfg.MaxMatters)
	return nil
}

// maxTold is how many problems go into the log.
const maxTold = 100

// inForm names the rules that stand in the configuration itself.
const inForm = "rules"

func (d *Detector) load() (rules []source, problems []Problem, err error) {
	take := func(name string, text []byte) {
		r, p := read(name, text)
		rules, problems = append(rules, r...), append(problems, p...)
	}
	if strings.TrimSpace(d.cfg.Rules) != "" {
		take(inForm, []byte(d.cfg.Rules))
	}
	for _, name := range d.cfg.Files {
		text, err := d.open(name)
		if err != nil {
			return nil, nil, sdk.Errorf(sdk.InvalidConfig, "files: %w", err)
		}
		take(name, text)
	}
	if len(rules) > maxRules {
		return nil, nil, sdk.Errorf(sdk.InvalidConfig, "there are %d rules, and %d is the most", len(rules), maxRules)
	}
	return rules, problems, nil
}

func (d *Detector) open(name string) ([]byte, error) {
	if d.host == nil {
		return nil, fmt.Errorf("there is nobody to open %s", name)
	}
	f, err := d.host.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	return text, errors.Join(err, f.Close())
}

// add compiles a rule into the set of its kind.
func (d *Detector) add(s *source) []Problem {
	var names []string
	var problems []Problem
	found := false
	d.sets(func(set anySet) {
		name := set.name()
		names = append(names, name)
		if name != s.on {
			return
		}
		found = true
		if name != flowsKind.name && !slices.Contains(d.cfg.Kinds, name) {
			problems = []Problem{s.problem(s.onAt, "it looks at %s, of which nothing is shown to it: add %s to kinds", name, name)}
			return
		}
		problems = set.add(s)
	})
	if !found {
		return []Problem{s.problem(s.onAt, "on: there are no %q%s (there are: %s)", clean(s.on, 32), meant(s.on, names), strings.Join(names, ", "))}
	}
	return problems
}

func (s *source) problem(at position, format string, args ...any) Problem {
	return Problem{File: s.file, Line: at.line, Column: at.column, Rule: s.id, Text: fmt.Sprintf(format, args...)}
}

// anySet is a ruleSet of any kind.
type anySet interface {
	name() string
	empty()
	add(*source) []Problem
	reset()
	accounts(func(*source, *account))
	records() *uint64
}

// sets calls visit with the rules over each kind, in the order in which a snapshot has them.
func (d *Detector) sets(visit func(anySet)) {
	d.flows.kind, d.dns.kind, d.tls.kind, d.http.kind, d.smb.kind, d.dhcp.kind = &flowsKind, &dnsKind, &tlsKind, &httpKind, &smbKind, &dhcpKind
	d.arp.kind, d.ot.kind, d.files.kind, d.logins.kind, d.messages.kind = &arpKind, &otKind, &filesKind, &loginsKind, &messagesKind
	for _, s := range []anySet{&d.flows, &d.dns, &d.tls, &d.http, &d.smb, &d.dhcp, &d.arp, &d.ot, &d.files, &d.logins, &d.messages} {
		visit(s)
	}
}

// Inspect takes records one by one, so where a batch ends makes no difference. Each rule sees records of one kind, so the order of
// kinds makes none either.
func (d *Detector) Inspect(ctx context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	return errors.Join(
		d.flows.inspect(d, b.Flows, sink), d.dns.inspect(d, b.DNS, sink), d.tls.inspect(d, b.TLS, sink), d.http.inspect(d, b.HTTP, sink),
		d.smb.inspect(d, b.SMB, sink), d.dhcp.inspect(d, b.DHCP, sink), d.arp.inspect(d, b.ARP, sink), d.ot.inspect(d, b.OT, sink),
		d.files.inspect(d, b.Files, sink), d.logins.inspect(d, b.Logins, sink), d.messages.inspect(d, b.Messages, sink), ctx.Err(),
	)
}

// Flush tells the last word on each matter and forgets everything. Rules that were switched off get another chance.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for m := range d.matters.All() {
		if err := d.last(m, sink); err != nil {
			return err
		}
	}
	if d.host != nil {
		d.report()
	}
	d.memory = newMemory(d.cfg.MaxMatters)
	d.sets(func(s anySet) { s.reset() })
	return nil
}

func (d *Detector) report() {
	log := d.host.Log()
	if n := d.matters.Forgotten; n > 0 {
		log.Warn("the memory was too small for this traffic; raise max_matters", "forgotten", n)
	}
	d.sets(func(s anySet) {
		s.accounts(func(s *source, a *account) {
			if a.errors+a.stopped > 0 {
				log.Warn("a rule came to no answer", "rule", s.id, "errors", a.errors, "stopped", a.stopped)
			}
		})
	})
}

// Health says which rules do not run. The others do.
func (d *Detector) Health(context.Context) error {
	var lines []string
	if len(d.refused) > 0 {
		lines = append(lines, "rules are left out:\n"+told(d.refused))
	}
	d.sets(func(s anySet) {
		s.accounts(func(s *source, a *account) {
			if a.off {
				lines = append(lines, fmt.Sprintf("rule %s cost too much and is switched off until the capture ends", s.id))
			}
		})
	})
	if len(lines) == 0 {
		return nil
	}
	return sdk.Errorf(sdk.InvalidConfig, "%s", strings.Join(lines, "\n"))
}
