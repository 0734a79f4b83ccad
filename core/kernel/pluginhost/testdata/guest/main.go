// The guest of the tests: a detector that finds every flow, or misbehaves as its configuration says.
package main

import (
	"context"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

type guest struct {
	cfg struct {
		Mode string `json:"mode" doc:"How to behave."`
	}
	flows int
	waste [][]byte
}

func init() {
	sdk.Register(sdk.Plugin{
		ID: "test/guest", Kind: sdk.KindDetector, Summary: "Finds every flow.",
		Subscription: sdk.Subscription{Flows: true},
		Rules:        []sdk.Rule{{ID: "any", Purpose: "Finds every flow.", Severity: sdk.SeverityInfo}},
		New:          func() sdk.Instance { return &guest{} },
	})
}

func main() { serve.Main() }

func (g *guest) Config() any { return &g.cfg }

func (g *guest) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	switch g.cfg.Mode {
	case "spin":
		for {
			g.flows++
		}
	case "panic":
		panic("I cannot go on")
	case "eat":
		for {
			g.waste = append(g.waste, make([]byte, 1<<20))
		}
	}
	for i := range b.Flows {
		g.flows++
		f := sdk.Finding{Rule: "any", Severity: sdk.SeverityInfo, Summary: b.Capture, Flows: []sdk.FlowRef{b.Flows[i].Ref()}, Start: b.Flows[i].Start, End: b.Flows[i].End}
		if err := sink.Finding(f); err != nil {
			return err
		}
	}
	return nil
}

func (g *guest) Flush(_ context.Context, sink sdk.FindingSink) error {
	return sink.Finding(sdk.Finding{Rule: "any", Severity: sdk.SeverityLow, Summary: "done", Start: time.Unix(0, 0), End: time.Unix(int64(g.flows), 0)})
}
