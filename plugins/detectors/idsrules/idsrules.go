// Package idsrules runs rules in the language of Suricata over packets.
//
// In go whole packets, out come findings, one for each rule and pair of hosts. A rule that holds anything which is not
// understood is refused with its line and the keyword, so that each rule that is loaded means here what it says.
//
// The reading path: syntax.go splits a rule into words; compile.go gives each keyword its meaning; index.go says which rules
// a packet can concern at all; engine.go evaluates those, over packets (decode.go), streams (flow.go) and what the
// protocols in them say (http.go, tls.go, applications.go); content.go and bytetest.go are the tests on bytes; limit.go and
// report.go turn matches into findings.
package idsrules

import (
	"context"

	"github.com/picketwatch/picket/sdk"
)

// RuleSignature is the rule of all findings; the rule of the operator's file is in their id, and in the feature sid.
const RuleSignature = "signature"

func init() {
	sdk.Register(Plugin())
}

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/ids-rules",
		Kind:    sdk.KindDetector,
		Summary: "Runs Suricata's rules over the packets.",
		Rules: []sdk.Rule{
			{ID: RuleSignature, Purpose: "A packet, a stream or a message matched a rule of the operator's files.", Severity: sdk.SeverityMedium,
				FalsePositives: []string{"What the rule looks for stands in harmless traffic too: its own reference and message say when."}},
		},
		Subscription: sdk.Subscription{Packets: &sdk.PacketSubscription{SnapLen: sdk.MaxSnapLen}},
		Borrows:      true,
		New:          func() sdk.Instance { return &Detector{} },
	}
}

// Config is the operator's configuration.
type Config struct {
	Rules     []string          `json:"rules" max:"64" doc:"Files with rules in the language of Suricata, also in gzip."`
	Defaults  bool              `json:"defaults" default:"true" doc:"Whether the few rules that come with the plugin are loaded too."`
	Variables map[string]string `json:"variables" max:"256" doc:"What $NAME stands for in rules, for example HOME_NET: \"[10.0.0.0/8]\"; EXTERNAL_NET is all but HOME_NET."`
	Depth     int               `json:"depth" default:"1048576" min:"4096" max:"1073741824" doc:"How many bytes of each direction of a connection are looked into."`
	MaxFlows  int               `json:"max_flows" default:"65536" min:"64" max:"4000000" doc:"How many conversations are remembered; the one quiet for longest is forgotten first."`
	MaxBuffer int               `json:"max_buffer" default:"67108864" min:"1048576" max:"4294967296" doc:"How many bytes of streams are held for them in all."`
	MaxAlerts int               `json:"max_alerts" default:"32768" min:"64" max:"1000000" doc:"How many findings are counted on, and half as many counts of thresholds; the oldest is forgotten first."`
}

// Detector is one instance. Calls come one at a time.
type Detector struct {
	cfg    Config
	host   sdk.Host
	loaded loaded
	index  *index
	engine *engine
	ledger ledger
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
		return sdk.Errorf(sdk.InvalidConfig, "there is no rule to run (%d were refused: %s)", len(d.loaded.refused), byKeyword(d.loaded.refused))
	}
	d.index = newIndex(d.loaded.rules, d.loaded.shared)
	d.reset()
	if host != nil {
		d.report()
	}
	return nil
}

// maxRefusals is how many refused rules are named one by one.
const maxRefusals = 100

func (d *Detector) report() {
	log := d.host.Log()
	log.Info("read the rules", "loaded", len(d.loaded.rules), "refused", len(d.loaded.refused), "doubled", d.loaded.doubled)
	if len(d.loaded.refused) == 0 {
		return
	}
	log.Warn("rules were refused", "by_keyword", byKeyword(d.loaded.refused))
	for _, r := range d.loaded.refused[:min(len(d.loaded.refused), maxRefusals)] {
		log.Warn("a rule was refused", "file", r.File, "line", r.Line, "sid", r.Sid, "keyword", r.Keyword, "reason", r.Reason)
	}
}

func (d *Detector) reset() {
	d.ledger = newLedger(d.cfg.MaxAlerts)
	d.engine = newEngine(d.index, d.cfg.MaxFlows, d.cfg.MaxBuffer, int64(d.cfg.Depth), newLimits(d.cfg.MaxAlerts), d.ledger.add)
}

// Inspect takes packets one by one, so where a batch ends makes no difference.
func (d *Detector) Inspect(ctx context.Context, batch sdk.Batch, sink sdk.FindingSink) error {
	for i := range batch.Packets {
		d.engine.inspect(&batch.Packets[i])
		if len(d.ledger.due) > 0 {
			if err := d.ledger.tell(d.loaded.rules, sink); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// Flush evaluates what the open connections hold, reports and forgets it.
func (d *Detector) Flush(_ context.Context, sink sdk.FindingSink) error {
	for f := d.engine.flows.oldest; f != nil; f = f.newer {
		d.engine.ended(f)
	}
	if err := d.ledger.finish(d.loaded.rules, sink); err != nil {
		return err
	}
	if n := d.engine.flows.forgotten + d.engine.limits.forgotten + d.ledger.forgotten; n > 0 && d.host != nil {
		d.host.Log().Warn("the memory was too small for this traffic; raise max_flows, max_buffer or max_alerts", "forgotten", n)
	}
	if n := d.engine.exhausted; n > 0 && d.host != nil {
		d.host.Log().Warn("evaluations were given up, because they took too many steps", "evaluations", n)
	}
	d.reset()
	return nil
}
