// Package echo is a detector for tests that says back what features it was given.
package echo

import (
	"context"
	"strconv"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/columns"
)

// Plugin declares the detector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID: "test/echo", Kind: sdk.KindDetector, Summary: "Says back the features of each flow.",
		Subscription: sdk.Subscription{Flows: true, Features: true},
		Rules:        []sdk.Rule{{ID: "flow", Purpose: "There is a flow.", Severity: sdk.SeverityInfo}},
		New:          func() sdk.Instance { return &detector{} },
	}
}

type detector struct{}

func (*detector) Config() any { return nil }

func (*detector) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		f := &b.Flows[i]
		if err := sink.Finding(sdk.Finding{
			Rule: "flow", Severity: sdk.SeverityInfo, Src: strconv.FormatUint(f.ID, 10), Dst: b.Capture,
			Start: f.Start, End: f.End, Features: Features(f),
		}); err != nil {
			return err
		}
	}
	return nil
}

// Features are the numbers of a flow by the names of their columns.
func Features(f *sdk.Flow) map[string]float64 {
	all := columns.All()
	out := make(map[string]float64, len(all))
	for i := range all {
		if c := &all[i]; c.Real != nil && c.Name != "duration" { // no field: it follows from others
			out[c.Name] = c.Real(f)
		}
	}
	return out
}

func (*detector) Flush(context.Context, sdk.FindingSink) error { return nil }
