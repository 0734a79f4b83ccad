// Package beacon finds hosts that call the same server at regular intervals, as implants call their command server.
//
// In go flows and messages of DNS, out come findings of two rules: "regular", the same service is called, and "names", names below
// one domain are asked for. It asks how unlikely the regularity is: if connections began at
// random, how often would so many intervals agree so closely? README.md has the reasoning, what keeps benign periodic
// traffic quiet, and where each threshold comes from.
//
// The reading path: call.go says which flows are calls; pair.go remembers them for each pair of caller and service within
// bounds; rhythm.go measures regularity; judge.go decides and reports. For names asks.go remembers and askedjudge.go decides.
package beacon

import (
	"context"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/recent"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// The rules.
const (
	RuleRegular = "regular"
	RuleNames   = "names"
)

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/beacon",
		Kind:    sdk.KindDetector,
		Summary: "Finds hosts that call the same server at regular intervals, as implants do.",
		Rules: []sdk.Rule{{
			ID:         RuleRegular,
			Purpose:    "One host connected to the same service again and again, at intervals too regular for chance.",
			Techniques: []string{"T1071", "T1071.001", "T1071.002", "T1071.003", "T1071.004", "T1071.005"},
			Severity:   sdk.SeverityHigh,
			FalsePositives: []string{
				"Update checks, telemetry and licence checks of installed software.",
				"A monitoring system that polls a single service; one that polls several is recognised.",
				"A page left open that refreshes itself.",
			},
		}, {
			ID:         RuleNames,
			Purpose:    "One host asked for names below one domain, each of them new, at intervals too regular for chance.",
			Techniques: []string{"T1071", "T1071.004"},
			Severity:   sdk.SeverityMedium,
			FalsePositives: []string{
				"Software that makes up a name for each report on a timer, or to pass by caches; asked for by one host only.",
				"A monitoring system that asks a name server for names of its own.",
			},
		}},
		Subscription: sdk.Subscription{Flows: true, Facts: []string{sdk.FactsDNS}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	MinCalls    int             `json:"min_calls" default:"5" min:"4" max:"1000" doc:"How many connections a beacon has at least."`
	MinInterval config.Duration `json:"min_interval" default:"1s" min:"100ms" max:"24h" doc:"Faster repetition is the work of a program at its task, not a beacon."`
	MaxJitter   float64         `json:"max_jitter" default:"0.4" min:"0" max:"0.5" doc:"How far intervals may lie from the period, as a share of it."`
	Surprise    float64         `json:"surprise" default:"4" min:"1" max:"30" doc:"How unlikely chance must be: 4 means one in ten thousand."`
	Window      config.Duration `json:"window" default:"24h" min:"1m" max:"720h" doc:"How long connections of a pair count together, by the time in the flows."`
	Ignore      []string        `json:"ignore" format:"cidr" doc:"Destinations that may be called regularly, for example the update server."`
	Lookups     []string        `json:"lookups" default:"avqs.mcafee.com,avts.mcafee.com,e5.sk,sophosxl.net,spamhaus.org,spamhaus.net,surbl.org,uribl.com,spamcop.net,barracudacentral.org,mailspike.net,senderscore.com,dnswl.org,msbl.org,cymru.com" doc:"Domains whose names carry data by design: virus scanners, blocklists."`
	MaxPairs    int             `json:"max_pairs" default:"16384" min:"16" max:"1000000" doc:"How many pairs of caller and service are remembered; the one quiet for longest is judged and forgotten first."`
	MaxCalls    int             `json:"max_calls" default:"512" min:"16" max:"100000" doc:"How many connections are remembered for one pair; the oldest are forgotten first."`
	MaxMemory   int             `json:"max_memory" default:"100000" min:"1024" max:"10000000" doc:"How many connections are remembered in all."`
	MaxDomains  int             `json:"max_domains" default:"8192" min:"16" max:"1000000" doc:"How many pairs of client and domain are remembered; the one quiet for longest is judged and forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg     Config
	host    sdk.Host
	ignore  prefixes
	pairs   pairs
	asked   askedTable
	askers  map[uint64]int // how many ask below a domain
	domains domains
	names   []uint32 // room for judging
	scales  scales
	starts  []int64 // room for judging
	room    room
	clock   int64 // the latest end of a flow
	swept   int64 // clock of the last look at running pairs
}

// Config returns where the configuration goes.
func (d *Detector) Config() any { return &d.cfg }

// Start prepares an empty state.
func (d *Detector) Start(_ context.Context, host sdk.Host) error {
	d.host = host
	var err error
	if d.ignore, err = parsePrefixes(d.cfg.Ignore); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "ignore: %w", err)
	}
	d.domains.lookups = map[string]bool{}
	for _, domain := range d.cfg.Lookups {
		d.domains.lookups[strings.ToLower(strings.Trim(domain, "."))] = true
	}
	d.reset()
	return nil
}

func (d *Detector) reset() {
	d.asked, d.askers = recent.New[askedKey, *asked](d.cfg.MaxDomains), map[uint64]int{}
	d.pairs = newPairs(&d.cfg)
	d.clock, d.swept = 0, 0
}

// sweepEvery is how often, in flow time, all running pairs are looked at. Those that are plainly regular are told before, see early.
const sweepEvery = int64(15 * time.Minute)

// Inspect takes records one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.DNS {
		if err := d.message(&batch.DNS[i], sink); err != nil {
			return err
		}
	}
	for i := range batch.Flows {
		f := &batch.Flows[i]
		d.clock = max(d.clock, f.End.UnixNano())
		if d.swept == 0 {
			d.swept = d.clock
		}
		if err := d.sweep(sink); err != nil {
			return err
		}
		look := d.remember
		switch {
		case isWatch(f):
			look = d.watch
		case !isCall(f) || d.ignore.contain(f.Dst):
			continue
		}
		if err := look(f, sink); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// remember adds a call to those of its pair.
func (d *Detector) remember(f *sdk.Flow, sink sdk.FindingSink) error {
	key := keyOf(f)
	p := d.pairs.byKey[key]
	p, err := d.makeRoom(p, sink)
	if err != nil {
		return err
	}
	if p == nil {
		p = d.pairs.appear(key)
	}
	d.pairs.add(p, f)
	return d.early(p, sink)
}

// watch remembers that the caller is a monitoring system. Its latest call says so as well as all of them.
func (d *Detector) watch(f *sdk.Flow, sink sdk.FindingSink) error {
	key := keyOf(f)
	if p := d.pairs.byKey[key]; p != nil {
		d.pairs.remove(p)
	}
	if _, err := d.makeRoom(nil, sink); err != nil {
		return err
	}
	d.pairs.add(d.pairs.appear(key), f)
	return nil
}

// makeRoom forgets pairs when memory is full, and returns p, or nil when it was one of them. Each is judged before: memory that
// is too small costs time, not detections.
func (d *Detector) makeRoom(p *pair, sink sdk.FindingSink) (*pair, error) {
	for old := d.pairs.crowded(p); old != nil; old = d.pairs.crowded(p) {
		if v, regular := d.judge(old); regular {
			if err := d.report(v.outline(), d.related(old), true, sink); err != nil {
				return nil, err
			}
		}
		d.pairs.forget(old)
		if old == p {
			p = nil
		}
	}
	return p, nil
}

// sweep judges now and then, so that a live capture reports before it ends, and forgets pairs whose window is over.
func (d *Detector) sweep(sink sdk.FindingSink) error {
	if d.clock-d.swept < sweepEvery {
		return nil
	}
	d.swept = d.clock
	if err := d.judgeAll(false, sink); err != nil {
		return err
	}
	d.pairs.expire(d.clock - int64(d.cfg.Window))
	return nil
}

// Flush judges everything and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	if err := d.judgeAll(true, sink); err != nil {
		return err
	}
	for c := range d.asked.All() {
		if err := d.judgeAsked(c, true, sink); err != nil {
			return err
		}
	}
	if n := d.pairs.forgotten + d.asked.Forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_pairs, max_calls, max_memory or max_domains", "forgotten", n)
	}
	d.reset()
	return nil
}
