// Package webattack finds requests of HTTP that try to break into a web application.
//
// In go exchanges of HTTP and the first bytes of what is sent to servers, out come findings, one for each source and server: which
// kinds of attacks were tried, and whether an answer says that one may have worked. README.md has the reasoning.
//
// The reading path: normal.go undoes what hides a text; signs.go knows attacks by it; report.go puts them into words.
package webattack

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/issue"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	p := sdk.Plugin{
		ID:           "picket/web-attack",
		Kind:         sdk.KindDetector,
		Summary:      "Finds requests of HTTP that try to break into a web application.",
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsHTTP, sdk.FactsFiles}, Without: []string{sdk.PartReceived}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
	for _, r := range rules {
		p.Rules = append(p.Rules, sdk.Rule{ID: r.id, Purpose: r.purpose, Techniques: r.techniques, Severity: r.severity, FalsePositives: []string{r.benign}})
	}
	return p
}

// Config is the operator's configuration.
type Config struct {
	Clients     []string `json:"clients" format:"cidr" doc:"Hosts that may do all that: own scanners, a proxy that tests what it forwards."`
	Servers     []string `json:"servers" format:"cidr" doc:"Servers where all that may be tried, such as those of a training."`
	Scan        int      `json:"scan" default:"10" min:"2" max:"10000" doc:"From how many such requests to one server on somebody scans it."`
	MaxFindings int      `json:"max_findings" default:"8192" min:"64" max:"100000" doc:"How many pairs of a source and a server are remembered; the one quiet for longest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg              Config
	host             sdk.Host
	clients, servers []netip.Prefix
	issues           issue.Table
	text             []byte // a text that is being read, without what hides it
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	for _, list := range []struct {
		texts []string
		into  *[]netip.Prefix
	}{{d.cfg.Clients, &d.clients}, {d.cfg.Servers, &d.servers}} {
		for _, text := range list.texts {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return sdk.Errorf(sdk.InvalidConfig, "a network: %w", err)
			}
			*list.into = append(*list.into, p.Masked())
		}
	}
	d.issues = issue.New(d.cfg.MaxFindings)
	return nil
}

func contain(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Inspect takes facts one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.HTTP {
		r := &batch.HTTP[i]
		if signs := d.exchange(r); signs != 0 {
			if err := d.note(&r.Seen, signs|answered(r.Status), r.Target, sink); err != nil {
				return err
			}
		}
	}
	for i := range batch.Files {
		r := &batch.Files[i]
		if r.FromServer || r.Protocol != "http" && r.Protocol != "http2" {
			continue
		}
		if signs := d.body(r.Begin); signs != 0 {
			if err := d.note(&r.Seen, signs, r.Name, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (d *Detector) note(seen *sdk.Seen, signs uint32, name string, sink sdk.FindingSink) error {
	if !seen.Server.IsValid() || contain(d.clients, seen.Client) || contain(d.servers, seen.Server) {
		return nil
	}
	key := issue.Key{Client: bare.Of(seen.Client), Server: bare.Of(seen.Server), Port: seen.ServerPort, Rule: ruleOf(signs)}
	if known, is := d.issues.Get(key); is && int(known.Count)+1 >= d.cfg.Scan {
		signs |= scan
	}
	s := issue.Of(seen)
	s.Signs, s.Name = signs, name
	return d.issues.See(key, &s, func(i *issue.Issue) error { return sink.Finding(finding(i)) })
}

// Flush reports what has grown since it was told, and forgets everything.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	err := d.issues.Flush(func(i *issue.Issue) error { return sink.Finding(finding(i)) })
	if n := d.issues.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_findings", "forgotten", n)
	}
	d.issues = issue.New(d.cfg.MaxFindings)
	return err
}

// snapshotVersion is the form of a snapshot, which is the table of findings.
const snapshotVersion = 1

// issueSize is what one takes in a snapshot, about.
const issueSize = 256

// Snapshot writes down everything that the next findings depend on.
func (d *Detector) Snapshot(context.Context) ([]byte, error) {
	return saved.Seal(d.issues.AppendTo(saved.Begin(snapshotVersion, d.issues.Len()*issueSize))), nil
}

// Restore takes over what Snapshot wrote, whole or not at all.
func (d *Detector) Restore(_ context.Context, state []byte) error {
	p, err := saved.Open(snapshotVersion, state)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	issues := issue.New(d.cfg.MaxFindings)
	if err := errors.Join(issues.Read(p, uint8(len(rules))), p.End()); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	d.issues = issues
	return nil
}
