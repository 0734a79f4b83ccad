// Package sigma runs rules in the language of Sigma over what the parsers of the traffic engine understood.
//
// In go flows and facts, out come findings, one for each rule and pair of hosts. A rule that holds anything which the wire does not
// tell, or which is not known here, is refused with that word, so that each rule that is loaded means here what it says.
//
// The reading path: load.go reads files into documents, rule.go a document into a rule; source.go says which fields of which logs are
// which values of which records (record.go, rpc.go); condition.go and search.go compile a rule into tests of values (test.go,
// glob.go, required.go); match.go finds the rules that a record can concern and evaluates those; report.go turns matches into findings.
package sigma

import (
	"context"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// RuleMatch is the rule of all findings; the id of the operator's rule is in theirs.
const RuleMatch = "match"

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/sigma",
		Kind:    sdk.KindDetector,
		Summary: "Runs Sigma's rules for DNS, proxies, web servers, firewalls and Zeek over what is on the wire.",
		Rules: []sdk.Rule{
			{ID: RuleMatch, Purpose: "What a host did matched a rule of the operator's files.", Severity: sdk.SeverityMedium,
				FalsePositives: []string{"Those of the rule, which its findings name."}},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDNS, sdk.FactsHTTP, sdk.FactsMessages, sdk.FactsSMB, sdk.FactsTLS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Rules       []string `json:"rules" max:"64" doc:"Files with rules: YAML of one or several, also in gzip, or a zip file of such as SigmaHQ releases them."`
	Defaults    bool     `json:"defaults" default:"true" doc:"Whether the few rules that come with the plugin are loaded too."`
	Statuses    []string `json:"statuses" default:"stable,test,experimental" enum:"stable,test,experimental,deprecated,unsupported" doc:"Which rules are loaded by their status. One without a status is experimental."`
	MaxFindings int      `json:"max_findings" default:"8192" min:"64" max:"1000000" doc:"How many pairs of rule and hosts are counted on; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	loaded  loaded
	matcher *matcher
	record  record
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	matters recent.Table[matterKey, *matter]
	shares  shares
}

func newMemory(limit int) memory {
	return memory{matters: recent.New[matterKey, *matter](limit), shares: newShares()}
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start reads the rules, and says which were refused.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.loaded, err = load(host, &d.cfg); err != nil {
		return err
	}
	if len(d.loaded.rules) == 0 {
		return sdk.Errorf(sdk.InvalidConfig, "there is no rule to run (%d are for other logs, %d were refused: %s)", len(d.loaded.elsewhere), len(d.loaded.refused), byKeyword(d.loaded.refused))
	}
	if host != nil {
		d.loaded.report(host.Log())
	}
	d.begin()
	return nil
}

// begin readies the rules that are loaded.
func (d *Detector) begin() {
	d.matcher = newMatcher(d.loaded.programs, d.loaded.tests)
	d.memory = newMemory(d.cfg.MaxFindings)
}

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DNS {
		if err := d.judge(d.record.readDNS(&batch.DNS[i]), &batch.DNS[i].Seen, sink); err != nil {
			return err
		}
	}
	for i := range batch.HTTP {
		if err := d.judge(d.record.readHTTP(&batch.HTTP[i], d.matcher), &batch.HTTP[i].Seen, sink); err != nil {
			return err
		}
	}
	for i := range batch.TLS {
		if err := d.judge(d.record.readTLS(&batch.TLS[i]), &batch.TLS[i].Seen, sink); err != nil {
			return err
		}
	}
	for i := range batch.SMB {
		if err := d.judge(d.record.readSMB(&batch.SMB[i], &d.shares), &batch.SMB[i].Seen, sink); err != nil {
			return err
		}
	}
	for i := range batch.Messages {
		if err := d.judge(d.record.readMessage(&batch.Messages[i]), &batch.Messages[i].Seen, sink); err != nil {
			return err
		}
	}
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// judge evaluates the rules for a record of a kind, which is none when no log would hold it.
func (d *Detector) judge(k kind, seen *sdk.Seen, sink sdk.FindingSink) error {
	if k == none || !d.matcher.used[k] {
		return nil
	}
	d.record.seen(seen)
	return d.report(k, seen.Time.UnixNano(), seen.Packet, sink)
}

func (d *Detector) flow(f *sdk.Flow, sink sdk.FindingSink) error {
	if !d.matcher.used[connection] {
		return nil
	}
	d.record.readFlow(f)
	packet := uint64(0)
	if len(f.Packets) > 0 {
		packet = f.Packets[0]
	}
	return d.report(connection, f.Start.UnixNano(), packet, sink)
}

// Flush tells the last word on each matter and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for m := range d.matters.All() {
		if err := d.last(m, sink); err != nil {
			return err
		}
	}
	if n := d.matters.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_findings", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxFindings)
	return nil
}
