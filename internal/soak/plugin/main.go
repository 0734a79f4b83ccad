// The plugins of the soak, as processes and as guests: a collector that numbers its samples, and two detectors that count
// what they are shown, one of which keeps its state over the death of its process.
package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }

func init() {
	sdk.Register(sdk.Plugin{ID: "soak/numbers", Kind: sdk.KindCollector, Summary: "Numbers its samples, from 1 in each life of its process.",
		New: func() sdk.Instance { return &numbers{} }})
	rules := []sdk.Rule{{ID: "sum", Purpose: "Says what it has seen of a capture.", Severity: sdk.SeverityInfo}}
	flows := sdk.Subscription{Flows: true}
	sdk.Register(sdk.Plugin{ID: "soak/stateful", Kind: sdk.KindDetector, Summary: "Counts flows and gives its state away.",
		Subscription: flows, Rules: rules, New: func() sdk.Instance { return &stateful{} }})
	sdk.Register(sdk.Plugin{ID: "soak/stateless", Kind: sdk.KindDetector, Summary: "Counts flows and forgets with its process.",
		Subscription: flows, Rules: rules, New: func() sdk.Instance { return &stateless{} }})
}

// numbers emits so many samples a round. Their values go on from round to round, so that the store can see a gap.
type numbers struct {
	cfg struct {
		Samples int `json:"samples" doc:"How many samples a round has."`
	}
	labels map[string]string
	last   uint64
}

func (c *numbers) Config() any { return &c.cfg }

func (c *numbers) Start(context.Context, sdk.Host) error {
	var life [8]byte
	if _, err := rand.Read(life[:]); err != nil {
		return err
	}
	c.labels = map[string]string{"life": hex.EncodeToString(life[:])}
	return nil
}

func (c *numbers) Collect(_ context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	for range c.cfg.Samples {
		c.last++
		s := sdk.Sample{Metric: "soak.number", Unit: "1", Type: sdk.Gauge, Labels: c.labels, Time: req.Time, Value: float64(c.last)}
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	return nil
}

// counts is what a detector knows. The ids of a capture rise: one that does not came twice.
type counts struct {
	Count, Sum, Last, Twice, Captures uint64
}

// Every is which flows are found.
const every = 100

func (c *counts) inspect(b sdk.Batch, sink sdk.FindingSink) error {
	for i := range b.Flows {
		id := b.Flows[i].ID
		if id <= c.Last {
			c.Twice++
		}
		c.Count, c.Sum, c.Last = c.Count+1, c.Sum+id, id
		if id%every != 0 {
			continue
		}
		at := b.Flows[i].Start
		if err := sink.Finding(sdk.Finding{Rule: "sum", Severity: sdk.SeverityInfo, Summary: fmt.Sprintf("flow %d", id), Start: at, End: at}); err != nil {
			return err
		}
	}
	return nil
}

func (c *counts) flush(sink sdk.FindingSink) error {
	c.Captures++
	text := fmt.Sprintf("count=%d sum=%d twice=%d captures=%d", c.Count, c.Sum, c.Twice, c.Captures)
	*c = counts{Captures: c.Captures}
	return sink.Finding(sdk.Finding{Rule: "sum", Severity: sdk.SeverityLow, Summary: text, Start: time.Unix(0, 0), End: time.Unix(0, 0)})
}

type stateful struct{ state counts }

func (*stateful) Config() any { return nil }

func (d *stateful) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	return d.state.inspect(b, sink)
}
func (d *stateful) Flush(_ context.Context, sink sdk.FindingSink) error { return d.state.flush(sink) }
func (d *stateful) Snapshot(context.Context) ([]byte, error)            { return json.Marshal(d.state) }
func (d *stateful) Restore(_ context.Context, state []byte) error {
	return json.Unmarshal(state, &d.state)
}

type stateless struct{ state counts }

func (*stateless) Config() any { return nil }

func (d *stateless) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	return d.state.inspect(b, sink)
}
func (d *stateless) Flush(_ context.Context, sink sdk.FindingSink) error { return d.state.flush(sink) }
