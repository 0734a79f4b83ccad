package guest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/records"
)

// echo does every kind of work.
type echo struct{ state []byte }

func (*echo) Config() any { return nil }

func (*echo) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	f := sdk.Finding{Rule: "r", Severity: sdk.SeverityLow, Summary: b.Capture, Risk: len(b.Flows)}
	if b.Capture == "bad" {
		f.Confidence = math.NaN()
	}
	return errors.Join(sink.Finding(f), errorFor(b.Capture))
}

func errorFor(capture string) error {
	if capture == "fails" {
		return sdk.Errorf(sdk.Temporary, "it fails")
	}
	return nil
}

func (*echo) Flush(context.Context, sdk.FindingSink) error { return nil }

func (*echo) Collect(_ context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	return sink.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: req.Time, Value: req.Interval.Seconds()})
}

func (*echo) Discover(_ context.Context, scope sdk.Scope, sink sdk.SightingSink) error {
	return sink.Sighting(sdk.Sighting{Time: time.Unix(1, 0), IP: scope.Prefixes[0].Addr(), Confidence: 1})
}

func (*echo) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	return sdk.Receipt{ForeignID: n.ID}, nil
}

func (e *echo) Snapshot(context.Context) ([]byte, error) { return e.state, nil }

func (e *echo) Restore(_ context.Context, state []byte) error {
	e.state = state
	return nil
}

// newGuest has one plugin of each kind, each with the instance named as its kind.
func newGuest(t *testing.T) *dispatcher {
	t.Helper()
	var plugins []sdk.Plugin
	kinds := []sdk.Kind{sdk.KindDetector, sdk.KindCollector, sdk.KindDiscovery, sdk.KindNotifier}
	for _, kind := range kinds {
		plugins = append(plugins, sdk.Plugin{ID: "test/" + string(kind), Kind: kind, Rules: []sdk.Rule{{ID: "r"}}, New: func() sdk.Instance { return &echo{} }})
	}
	d := newDispatcher(plugins, func(abi.InstanceConfig) (sdk.Host, error) { return nil, nil })
	for _, kind := range kinds {
		if r := ask(t, d, abi.OpConfigure, abi.Request{Configure: &abi.InstanceConfig{Instance: string(kind), Plugin: "test/" + string(kind)}}); r.Error != nil {
			t.Fatal(r.Error.Err())
		}
	}
	return d
}

func ask(t *testing.T, d *dispatcher, op abi.Op, req abi.Request) abi.Response {
	t.Helper()
	data, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, d.call(op, data))
}

func answerOf(t *testing.T, data []byte) abi.Response {
	t.Helper()
	var resp abi.Response
	if len(data) == 0 {
		return resp
	}
	if err := json.Unmarshal(data, &resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

func inspect(t *testing.T, d *dispatcher, capture string) abi.Response {
	t.Helper()
	req, err := abi.AppendInspect(nil, "detector", capture)
	if err != nil {
		t.Fatal(err)
	}
	return answerOf(t, d.call(abi.OpInspect, append(req, records.AppendFlows(nil, make([]sdk.Flow, 3))...)))
}

func TestEveryOperation(t *testing.T) {
	d := newGuest(t)
	if r := ask(t, d, abi.OpDescribe, abi.Request{}); len(r.Plugins) != 4 {
		t.Errorf("describe: %+v", r)
	}
	if r := inspect(t, d, "c"); len(r.Findings) != 1 || r.Findings[0].Risk != 3 || r.Findings[0].Detector != "test/detector" {
		t.Errorf("inspect: %+v", r)
	}
	if r := ask(t, d, abi.OpCollect, abi.Request{Instance: "collector", Time: time.Unix(5, 0), Interval: time.Minute}); len(r.Samples) != 1 || r.Samples[0].Value != 60 {
		t.Errorf("collect: %+v", r)
	}
	var req abi.Request
	if err := json.Unmarshal([]byte(`{"instance": "discovery", "prefixes": ["10.0.0.0/24"]}`), &req); err != nil {
		t.Fatal(err)
	}
	if r := ask(t, d, abi.OpDiscover, req); len(r.Sightings) != 1 || r.Sightings[0].IP.String() != "10.0.0.0" {
		t.Errorf("discover: %+v", r)
	}
	if r := ask(t, d, abi.OpNotify, abi.Request{Instance: "notifier", Notice: &sdk.Notice{ID: "n"}}); r.Receipt == nil || r.Receipt.ForeignID != "n" {
		t.Errorf("notify: %+v", r)
	}
	if r := ask(t, d, abi.OpRestore, abi.Request{Instance: "detector", State: []byte("s")}); r.Error != nil {
		t.Errorf("restore: %+v", r)
	}
	if r := ask(t, d, abi.OpSnapshot, abi.Request{Instance: "detector"}); string(r.State) != "s" {
		t.Errorf("snapshot: %+v", r)
	}
	for _, op := range []abi.Op{abi.OpFlush, abi.OpHealth, abi.OpStop} {
		if out := d.call(op, []byte(`{"instance": "detector"}`)); out != nil {
			t.Errorf("operation %d has something to say: %s", op, out)
		}
	}
	if r := ask(t, d, abi.OpHealth, abi.Request{Instance: "detector"}); r.Error == nil {
		t.Error("a stopped instance is healthy")
	}
}

func TestErrorsOfAGuest(t *testing.T) {
	d := newGuest(t)
	if r := inspect(t, d, "fails"); r.Error == nil || r.Error.Class != sdk.Temporary || len(r.Findings) != 1 {
		t.Errorf("what was found before the error is lost: %+v", r)
	}
	if r := inspect(t, d, "bad"); r.Error == nil || len(r.Findings) != 0 {
		t.Errorf("a finding with a NaN: %+v", r)
	}
	for name, c := range map[string]struct {
		op      abi.Op
		request string
	}{
		"unknown operation": {99, `{}`},
		"no operation":      {0, ``},
		"broken request":    {abi.OpCollect, `{`},
		"no configuration":  {abi.OpConfigure, `{}`},
		"no notice":         {abi.OpNotify, `{}`},
		"no instance":       {abi.OpCollect, `{}`},
		"short inspect":     {abi.OpInspect, `{`},
		"wrong kind":        {abi.OpCollect, `{"instance": "detector"}`},
	} {
		if r := answerOf(t, d.call(c.op, []byte(c.request))); r.Error == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLogLinesOfAGuest(t *testing.T) {
	var lines []string
	var levels []slog.Level
	log := slog.New(newLogHandler(func(level slog.Level, line []byte) {
		levels, lines = append(levels, level), append(lines, string(line))
	}))
	log.With("instance", "i").WithGroup("g").Warn("look", "a", 1)
	log.Debug("fine")
	if len(lines) != 2 || levels[0] != slog.LevelWarn || levels[1] != slog.LevelDebug {
		t.Fatalf("%v %q", levels, lines)
	}
	if !strings.Contains(lines[0], `"msg":"look","instance":"i","g":{"a":1}`) || strings.HasSuffix(lines[0], "\n") {
		t.Errorf("got %q", lines[0])
	}
}

func FuzzCall(f *testing.F) {
	f.Add(uint32(abi.OpConfigure), []byte(`{"configure": {"instance": "x", "plugin": "test/detector"}}`))
	f.Add(uint32(abi.OpInspect), []byte("\x02\x00\x00\x00{}PKRW"))
	f.Add(uint32(abi.OpNotify), []byte(`{"instance": "notifier", "notice": {}}`))
	f.Fuzz(func(t *testing.T, op uint32, request []byte) {
		d := newDispatcher([]sdk.Plugin{{ID: "test/detector", Kind: sdk.KindDetector, New: func() sdk.Instance { return &echo{} }}},
			func(abi.InstanceConfig) (sdk.Host, error) { return nil, nil })
		d.call(abi.OpConfigure, []byte(`{"configure": {"instance": "i", "plugin": "test/detector"}}`))
		if out := d.call(abi.Op(op), request); out != nil && !json.Valid(out) {
			t.Fatalf("operation %d answers %q", op, out)
		}
	})
}
