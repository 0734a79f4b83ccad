// Package intel looks up what is in the traffic in lists of what is known to be bad.
//
// In go flows, names, pages, files and fingerprints, out come findings of those that stand in the operator's lists. There is no list to
// begin with. README.md has the forms of lists and what is made of them.
//
// The reading path: load.go reads lists into a table (table.go); match.go looks up and remembers who had to do with what; report.go
// puts it into words.
package intel

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
)

// The rules.
const (
	RuleAddress     = "address"
	RuleName        = "name"
	RulePage        = "page"
	RuleFile        = "file"
	RuleFingerprint = "fingerprint"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	stale := []string{"Entries that are old, or stand for what many share."}
	return sdk.Plugin{
		ID:      "picket/intel",
		Kind:    sdk.KindDetector,
		Summary: "Finds addresses, names, pages, files and fingerprints that stand in your lists.",
		Rules: []sdk.Rule{
			{ID: RuleAddress, Purpose: "A host had to do with an address in a list.", Techniques: []string{"T1071"}, Severity: sdk.SeverityMedium, FalsePositives: stale},
			{ID: RuleName, Purpose: "A host asked for a name in a list, or below one.", Techniques: []string{"T1071.004", "T1071.001"}, Severity: sdk.SeverityMedium, FalsePositives: stale},
			{ID: RulePage, Purpose: "A host asked for a page in a list.", Techniques: []string{"T1071.001"}, Severity: sdk.SeverityHigh, FalsePositives: stale},
			{ID: RuleFile, Purpose: "A file in a list was transferred.", Techniques: []string{"T1105"}, Severity: sdk.SeverityHigh, FalsePositives: stale},
			{ID: RuleFingerprint, Purpose: "A client of TLS has a fingerprint in a list.", Techniques: []string{"T1071.001"}, Severity: sdk.SeverityMedium, FalsePositives: stale},
		},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP, sdk.FactsFiles}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Lists      []string `json:"lists" max:"64" doc:"Files with what is bad: a value a line, or type,value,source,expiry,confidence,added; also in gzip."`
	Entries    []string `json:"entries" max:"1000" doc:"A few of your own, as lines of a list."`
	Allow      []string `json:"allow" max:"64" doc:"Files with what is never bad, in the same forms, or warning lists of MISP in JSON."`
	Ignore     []string `json:"ignore" format:"cidr" doc:"Hosts whose traffic is not looked up, for example a sensor that fetches what is bad."`
	MaxMatters int      `json:"max_matters" default:"4096" min:"64" max:"100000" doc:"How many pairs of host and entry are remembered; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg        Config
	host       sdk.Host
	ignore     []netip.Prefix
	bad, allow *lists
	memory
}

// memory is what Flush forgets and Snapshot keeps.
type memory struct {
	matters recent.Table[matterKey, *matter]
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start reads the lists.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.ignore = host, nil
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", fmt.Errorf("%q: %w", text, err))
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	var err error
	if d.bad, err = load(host, d.cfg.Lists); err != nil {
		return err
	}
	if err := d.bad.own(d.cfg.Entries); err != nil {
		return err
	}
	if d.allow, err = load(host, d.cfg.Allow); err != nil {
		return err
	}
	if host != nil {
		host.Log().Info("lists are read", "entries", len(d.bad.table.entries), "doubled", d.bad.table.doubled, "refused", d.bad.refused, "allowed", len(d.allow.table.entries))
	}
	d.memory = newMemory(d.cfg.MaxMatters)
	return nil
}

func newMemory(limit int) memory { return memory{recent.New[matterKey, *matter](limit)} }

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	if len(d.bad.table.entries) == 0 {
		return nil
	}
	if err := d.facts(&batch, sink); err != nil {
		return err
	}
	for i := range batch.Flows {
		if err := d.flow(&batch.Flows[i], sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Flush tells the last word on each matter and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for m := range d.matters.All() {
		if err := d.last(m, sink); err != nil {
			return err
		}
	}
	if n := d.matters.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_matters", "forgotten", n)
	}
	d.memory = newMemory(d.cfg.MaxMatters)
	return nil
}

func (d *Detector) ignored(a, b netip.Addr) bool {
	for _, p := range d.ignore {
		if p.Contains(a) || p.Contains(b) {
			return true
		}
	}
	return false
}
