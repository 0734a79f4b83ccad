// Package bruteforce finds hosts that guess passwords.
//
// In go logins, HTTP exchanges and flows, out come findings of three rules: guessing (one source, few accounts), spraying (one
// source, many accounts or many hosts) and distributed (many sources, one service of one host). It counts failures that no
// success makes up for: people and programs that know a password fail now and then, and then get in. README.md has the
// reasoning and where each threshold comes from.
//
// The reading path: attempt.go and form.go say what one record tells about one login; memory.go remembers that for each source
// within bounds; report.go puts it into words.
package bruteforce

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules, as findings name them.
const (
	RuleGuessing    = "guessing"
	RuleSpraying    = "spraying"
	RuleDistributed = "distributed"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	stale := "A program whose password was changed and that keeps trying the old one."
	return sdk.Plugin{
		ID:      "picket/bruteforce",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that guess passwords or try one password on many accounts or hosts.",
		Rules: []sdk.Rule{
			{ID: RuleGuessing, Purpose: "One host failed to log in to a service again and again.",
				Techniques: []string{"T1110.001"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{stale, "Tests of passwords that were agreed upon."}},
			{ID: RuleSpraying, Purpose: "One host failed to log in with many names, or on many hosts.",
				Techniques: []string{"T1110.003"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"An inventory or a backup that has a wrong password for many hosts.", "A proxy or a gateway behind which many people log in."}},
			{ID: RuleDistributed, Purpose: "Many hosts failed to log in to one service, each too seldom to stand out.",
				Techniques: []string{"T1110.001"}, Severity: sdk.SeverityMedium,
				FalsePositives: []string{"A directory or a mail server whose passwords were all reset.", stale}},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsHTTP, sdk.FactsLogins}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Failures    int             `json:"failures" default:"8" min:"3" max:"100000" doc:"How many logins must fail, beyond those that successes make up for."`
	SprayUsers  int             `json:"spray_users" default:"6" min:"2" max:"10000" doc:"With how many names it is spraying instead of guessing."`
	SprayHosts  int             `json:"spray_hosts" default:"5" min:"2" max:"256" doc:"On how many hosts failures count together."`
	Sources     int             `json:"sources" default:"10" min:"2" max:"10000" doc:"How many hosts must fail on one service, each of them below failures, to be one attack."`
	Window      config.Duration `json:"window" default:"24h" min:"1m" max:"720h" doc:"A source that did not fail for so long begins anew."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Sources that may fail, for example the scanner that tests passwords."`
	MaxSources  int             `json:"max_sources" default:"8192" min:"16" max:"1000000" doc:"How many sources with failures are remembered; the one quiet for longest is forgotten first."`
	MaxAccounts int             `json:"max_accounts" default:"32768" min:"256" max:"10000000" doc:"How many accounts are remembered in all."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg    Config
	host   sdk.Host
	ignore []netip.Prefix
	memory memory
	opened opened
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", err)
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	d.reset()
	return nil
}

func (d *Detector) reset() { d.memory, d.opened = newMemory(), opened{} }

// Inspect takes records one by one, so where a batch ends makes no difference. It looks at no clock: what a source did is judged
// as it does it.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Logins {
		if a, ok := d.login(&batch.Logins[i]); ok {
			if err := d.take(&a, sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.HTTP {
		if a, ok := form(&batch.HTTP[i]); ok {
			if err := d.take(&a, sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.Flows {
		f := &batch.Flows[i]
		if f.App != "snmp" && len(d.opened.byFlow) == 0 {
			continue
		}
		if a, ok := d.flow(f); ok {
			if err := d.take(&a, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// take adds an attempt to the memory of its source, and reports what stands out now.
func (d *Detector) take(a *attempt, sink sdk.FindingSink) error {
	for _, p := range d.ignore {
		if p.Contains(a.client) {
			return nil
		}
	}
	s := d.memory.find(a)
	if s != nil && a.at-s.last > int64(d.cfg.Window) {
		if err := d.leave(s, sink); err != nil {
			return err
		}
		s = nil
	}
	if a.worked {
		if s == nil {
			return nil // who knows the password is no matter
		}
		if !d.memory.succeed(s, a, &d.cfg) {
			return nil
		}
		return d.judge(s, true, sink)
	}
	for old := d.memory.crowded(s, &d.cfg); old != nil; old = d.memory.crowded(s, &d.cfg) {
		if err := d.leave(old, sink); err != nil {
			return err
		}
		d.memory.forgotten++
	}
	if s == nil {
		s = d.memory.appear(a)
	}
	v := d.memory.fail(s, a, &d.cfg)
	if v == nil {
		return nil
	}
	if err := d.judge(s, false, sink); err != nil {
		return err
	}
	return d.judgeVictim(v, false, sink)
}

// leave reports the rest of what a source did, and forgets it.
func (d *Detector) leave(s *source, sink sdk.FindingSink) error {
	err := d.judge(s, true, sink)
	d.memory.remove(s)
	return err
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for _, s := range d.memory.inOrder() {
		if err := d.judge(s, true, sink); err != nil {
			return err
		}
	}
	for _, v := range d.memory.victimsInOrder() {
		if err := d.judgeVictim(v, true, sink); err != nil {
			return err
		}
	}
	if n := d.memory.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_sources or max_accounts", "forgotten", n)
	}
	d.reset()
	return nil
}

// within says how long something took.
func within(nanoseconds int64) string {
	d := time.Duration(nanoseconds)
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute).String()
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return fmt.Sprint(d.Round(time.Millisecond))
}
