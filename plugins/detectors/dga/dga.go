// Package dga finds hosts that ask for names which algorithms made up, as malware does that looks for its command server.
//
// In go the names that hosts ask for by DNS or call by HTTP and TLS, out come findings of two rules. "generated": a model scores
// what somebody registered of each name; one odd name is chance, several of one host soon are not. "failing": names of one
// form that do not exist, one after the other, however they look. README.md has the reasoning and
// the figures.
//
// The reading path: name.go says what of a name counts; features.go and scorer.go score it; clients.go remembers the odd names of
// each host within bounds; judge.go asks how likely chance is; report.go puts it into words.
package dga

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// RuleGenerated is the rule of names that a model takes for made up.
const RuleGenerated = "generated"

// techniques are what it proves.
var techniques = []string{"T1568.002"}

func init() { sdk.Register(Plugin()) }

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/dga",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that ask for names which algorithms made up, with a model.",
		Rules: []sdk.Rule{{
			ID:         RuleGenerated,
			Purpose:    "One host asked for names that look made up by an algorithm, more of them than chance explains.",
			Techniques: techniques,
			Severity:   sdk.SeverityMedium,
			FalsePositives: []string{
				"Advertising and tracking networks that change their names daily.",
				"A resolver or mail filter that looks names up for many others.",
				"Sites whose names are abbreviations or numbers, where they are the custom.",
			},
		}, {
			ID:         RuleFailing,
			Purpose:    "One host asked for several names of one form, one after the other, that do not exist.",
			Techniques: techniques,
			Severity:   sdk.SeverityLow,
			FalsePositives: []string{
				"A resolver that blocks names by saying that they do not exist.",
				"A crawler or mail filter that looks up old names.",
			},
		}},
		Subscription: sdk.Subscription{Facts: []string{sdk.FactsDNS, sdk.FactsTLS, sdk.FactsHTTP}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Surprise    float64         `json:"surprise" default:"3" min:"2" max:"30" doc:"How unlikely chance must be: 3 means one in a thousand. Below 4 a finding is low."`
	Window      config.Duration `json:"window" default:"1h" min:"1m" max:"168h" doc:"How long the names of a host count together, by the time in the traffic."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Hosts that may ask for anything, for example a resolver or a mail filter."`
	IgnoreNames []string        `json:"ignore_names" doc:"Registered domains that do not count, for example example.com for all names below it."`
	MaxClients  int             `json:"max_clients" default:"8192" min:"16" max:"1000000" doc:"How many hosts are remembered; the one quiet for longest is judged and forgotten first."`
	MaxNames    int             `json:"max_names" default:"128" min:"16" max:"4096" doc:"How many odd names are remembered for one host."`
	MaxMemory   int             `json:"max_memory" default:"32768" min:"1024" max:"1000000" doc:"How many odd names are remembered in all."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	scorer  *scorer
	ignore  []netip.Prefix
	clients clients
	clock   int64 // until when all facts were seen
	latest  int64 // time of a fact
	asked   int64 // the latest time of a fact of DNS
	swept   int64 // clock of the last look at all hosts
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start reads the model.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host, d.ignore = host, nil
	for _, text := range d.cfg.Ignore {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return sdk.Errorf(sdk.InvalidConfig, "ignore: %q: %w", text, err)
		}
		d.ignore = append(d.ignore, p.Masked())
	}
	var err error
	if d.scorer, err = openScorer(host); err != nil {
		return err
	}
	d.reset()
	return nil
}

func (d *Detector) reset() {
	d.clients = newClients(d.cfg.MaxClients, d.cfg.MaxNames, d.cfg.MaxMemory)
	d.clock, d.latest, d.asked, d.swept = 0, 0, 0, 0
}

// Inspect takes names one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DNS {
		f := &batch.DNS[i]
		if f.Protocol != "dns" || f.Opcode != 0 {
			continue
		}
		d.asked = max(d.asked, f.Time.UnixNano())
		if err := d.name(&f.Seen, f.Query, signOf(f), sink); err != nil {
			return err
		}
	}
	for i := range batch.TLS {
		if err := d.name(&batch.TLS[i].Seen, batch.TLS[i].ServerName, 0, sink); err != nil {
			return err
		}
	}
	for i := range batch.HTTP {
		f := &batch.HTTP[i]
		name := f.Host
		if strings.IndexByte(name, ':') >= 0 {
			name, _, _ = net.SplitHostPort(name)
		}
		if err := d.name(&f.Seen, name, inClear, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Codes of answers.
const (
	noError   = 0
	nameError = 3 // there is no such name
)

// signOf is what a message says of its name.
func signOf(f *sdk.DNS) signs {
	switch {
	case f.Response && f.RCode == nameError:
		return missing
	case f.Response && f.RCode == noError && f.AnswerCount > 0:
		return exists
	}
	return 0
}

// name takes one name that a client asked for or called, and what was seen of it.
func (d *Detector) name(at *sdk.Seen, name string, how signs, sink sdk.FindingSink) error {
	now := at.Time.UnixNano()
	d.tick(now)
	if err := d.sweep(sink); err != nil {
		return err
	}
	s, judged, err := d.scorer.score(name)
	if err != nil || !judged || d.ignored(at.Client, s) {
		return err
	}
	c, goesOn := d.clients.of(at.Client), burst{}
	if c != nil && d.clock-c.start > int64(d.cfg.Window) {
		if err := d.last(c, sink); err != nil {
			return err
		}
		d.clients.remove(c)
		c, goesOn = nil, c.burst
	}
	if c == nil {
		if c, err = d.appear(at.Client, now, sink); err != nil {
			return err
		}
		goesOn.there = sketch{} // or all would be there in the end
		c.burst = goesOn
	}
	if err := d.tried(c, s, at, name, how, sink); err != nil {
		return err
	}
	if d.clients.add(c, s, at, how) {
		return d.makeRoom(c, sink)
	}
	return nil
}

// tick moves the clock on. Each kind of facts comes in batches of its own, so that calls may come before the answers that excuse their
// names: while there is DNS, its time counts.
func (d *Detector) tick(now int64) {
	d.latest = max(d.latest, now)
	if d.asked != 0 && d.latest-d.asked <= int64(d.cfg.Window) {
		d.clock = max(d.clock, d.asked)
	} else {
		d.clock = max(d.clock, d.latest)
	}
}

func (d *Detector) ignored(client netip.Addr, s *scored) bool {
	for _, p := range d.ignore {
		if p.Contains(client) {
			return true
		}
	}
	return !client.IsValid() || s.domain != "" && slices.Contains(d.cfg.IgnoreNames, s.domain)
}

// appear remembers a new host, in the place of the one quiet for longest when there are too many.
func (d *Detector) appear(client netip.Addr, now int64, sink sdk.FindingSink) (*asker, error) {
	if old := d.clients.crowded(); old != nil {
		if err := d.forget(old, sink); err != nil {
			return nil, err
		}
	}
	return d.clients.appear(client, now), nil
}

// makeRoom forgets other hosts while there are too many names.
func (d *Detector) makeRoom(c *asker, sink sdk.FindingSink) error {
	for old := d.clients.full(c); old != nil; old = d.clients.full(c) {
		if err := d.forget(old, sink); err != nil {
			return err
		}
	}
	return nil
}

// forget judges a host before its memory goes: too little of it costs time, not detections.
func (d *Detector) forget(c *asker, sink sdk.FindingSink) error {
	if err := d.last(c, sink); err != nil {
		return err
	}
	d.clients.forgotten++
	d.clients.remove(c)
	return nil
}

// sweepEvery is how often, in the traffic's time, hosts are judged: late enough for the answers to the first questions.
const sweepEvery = int64(10 * time.Second)

// sweep judges hosts that have asked for something odd since, and forgets those whose window is over.
func (d *Detector) sweep(sink sdk.FindingSink) error {
	if d.swept == 0 {
		d.swept = d.clock
	}
	if d.clock-d.swept < sweepEvery {
		return nil
	}
	d.swept = d.clock
	for _, c := range d.clients.changed() {
		if err := d.report(c, false, sink); err != nil {
			return err
		}
		if err := d.reportFailing(c, sink); err != nil {
			return err
		}
	}
	for old := d.clients.quietest(); old != nil && d.clock-old.last > int64(d.cfg.Window); old = d.clients.quietest() {
		if err := d.last(old, sink); err != nil {
			return err
		}
		d.clients.remove(old)
	}
	return nil
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for _, c := range d.clients.ordered() {
		if err := d.last(c, sink); err != nil {
			return err
		}
	}
	if n := d.clients.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_clients or max_memory", "forgotten", n)
	}
	d.reset()
	return nil
}
