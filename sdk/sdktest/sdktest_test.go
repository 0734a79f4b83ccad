package sdktest

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/kit"
)

// good is a detector that keeps every promise.
type good struct {
	cfg struct {
		Limit int `json:"limit" default:"50" min:"1" doc:"Ports of one host before a finding."`
	}
	ports map[string]int
	// What a broken one does wrong.
	flaw string
}

func (g *good) Config() any { return &g.cfg }

func (g *good) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	if g.ports == nil {
		g.ports = map[string]int{}
	}
	if g.flaw == "per batch" {
		clear(g.ports)
	}
	for _, f := range b.Flows {
		if f.Proto != sdk.ProtoTCP || f.RevPayload > 0 {
			continue
		}
		key := f.Src.String()
		g.ports[key]++
		if g.ports[key] != g.cfg.Limit {
			continue
		}
		v := sdk.Finding{Rule: "scan", Severity: sdk.SeverityMedium, Risk: 50, Confidence: 0.9, Techniques: []string{"T1046"},
			Src: key, Start: f.Start, End: f.End, Summary: "scan", Features: map[string]float64{"count": float64(g.ports[key])}}
		switch g.flaw {
		case "severity":
			v.Severity = "bad"
		case "rule":
			v.Rule = "undeclared"
		case "wall clock":
			v.Start = time.Now()
		}
		if err := sink.Finding(v); err != nil {
			return err
		}
	}
	return nil
}

func (g *good) Flush(context.Context, sdk.FindingSink) error {
	if g.flaw != "remembers" {
		g.ports = nil
	}
	return nil
}

func (g *good) Snapshot(context.Context) ([]byte, error) {
	if g.flaw == "snapshot" {
		return []byte("{}"), nil
	}
	return json.Marshal(g.ports)
}

func (g *good) Restore(_ context.Context, state []byte) error {
	return json.Unmarshal(state, &g.ports)
}

func detector(flaw string) sdk.Plugin {
	return sdk.Plugin{ID: "test/good", Kind: sdk.KindDetector, Summary: "Finds scans.", Subscription: sdk.Subscription{Flows: true},
		Rules: []sdk.Rule{{ID: "scan", Purpose: "Many ports.", Severity: sdk.SeverityMedium, Techniques: []string{"T1046"}}},
		New:   func() sdk.Instance { return &good{flaw: flaw} }}
}

// other is a collector, discovery plugin or notifier with a flaw.
type other struct{ flaw string }

func (o *other) Config() any {
	if o.flaw == "default" {
		return &struct {
			A int `json:"a" default:"5" max:"3"`
		}{}
	}
	return nil
}

func (o *other) Start(context.Context, sdk.Host) error {
	if o.flaw == "leak" {
		go func() { select {} }()
	}
	return nil
}

func (o *other) Stop(context.Context) error {
	if o.flaw == "stop" {
		return errors.New("stop without start")
	}
	return nil
}

func (o *other) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	switch o.flaw {
	case "ignores its context":
		select {}
	case "no class":
		return errors.New("something happened")
	}
	return sink.Sample(sdk.Sample{Metric: "m", Type: sdk.Gauge, Time: req.Time, Value: 1})
}

func (o *other) Discover(_ context.Context, _ sdk.Scope, sink sdk.SightingSink) error {
	return sink.Sighting(sdk.Sighting{Time: time.Unix(1, 0), IP: netip.MustParseAddr("192.0.2.1"), Confidence: 1})
}

func (o *other) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	if o.flaw == "needs an alert" && n.Alert == nil {
		return sdk.Receipt{}, errors.New("no alert")
	}
	return sdk.Receipt{}, nil
}

func plugin(kind sdk.Kind, flaw string) sdk.Plugin {
	return sdk.Plugin{ID: "test/other", Kind: kind, Summary: "Does something.", New: func() sdk.Instance { return &other{flaw} }}
}

func noSummary() sdk.Plugin {
	p := plugin(sdk.KindCollector, "")
	p.Summary = "no full stop"
	return p
}

func oneInstance() sdk.Plugin {
	p, inst := detector(""), &good{}
	p.New = func() sdk.Instance { return inst }
	return p
}

// flaws are broken plugins and what the suite must say about each.
var flaws = map[string]struct {
	plugin sdk.Plugin
	want   string
}{
	"severity":            {detector("severity"), `severity "bad" is not one of`},
	"undeclared rule":     {detector("rule"), `rule "undeclared", which test/good does not declare`},
	"wall clock":          {detector("wall clock"), "a second instance"},
	"per batch":           {detector("per batch"), "with batches of 1"},
	"remembers":           {detector("remembers"), "after Flush"},
	"snapshot":            {detector("snapshot"), "over a snapshot"},
	"same instance":       {oneInstance(), "New returned the same instance twice"},
	"summary":             {noSummary(), "one sentence that ends in a full stop"},
	"bad default":         {plugin(sdk.KindCollector, "default"), "default: it must be at most 3"},
	"leak":                {plugin(sdk.KindCollector, "leak"), "goroutines run on after Stop"},
	"stop":                {plugin(sdk.KindCollector, "stop"), "Stop of a fresh instance"},
	"ignores its context": {plugin(sdk.KindCollector, "ignores its context"), "still at work"},
	"no class":            {plugin(sdk.KindCollector, "no class"), "an error without a class counts as a bug"},
	"outside the scope":   {plugin(sdk.KindDiscovery, ""), "outside the scope"},
	"needs an alert":      {plugin(sdk.KindNotifier, "needs an alert"), "a notice without an alert"},
}

func TestGoodPlugins(t *testing.T) {
	Run(t, detector(""), Options{})
	Run(t, plugin(sdk.KindCollector, ""), Options{})
	Run(t, plugin(sdk.KindNotifier, ""), Options{})
	Run(t, plugin(sdk.KindDiscovery, ""), Options{Scope: sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}})
}

// Who waits for a report of the kit hears of each check as it comes.
func TestARunTellsOfEachCheck(t *testing.T) {
	var told []kit.Check
	options := Options{}.kit()
	options.Done = func(c kit.Check) { told = append(told, c) }
	report := kit.Run(t.Context(), []kit.Subject{Options{}.subject(t, plugin(sdk.KindCollector, ""))}, options)
	if len(told) < len(kit.Checks(sdk.KindCollector)) || !slices.Equal(told, report.Checks) {
		t.Errorf("told of %d checks of %d", len(told), len(report.Checks))
	}
}

// TestBroken is run by TestSuiteFindsFlaws in a program of its own, where it fails.
func TestBroken(t *testing.T) {
	c, ok := flaws[os.Getenv("SDKTEST_FLAW")]
	if !ok {
		t.Skip("only with SDKTEST_FLAW")
	}
	Run(t, c.plugin, Options{Timeout: 300 * time.Millisecond})
}

func TestSuiteFindsFlaws(t *testing.T) {
	for name, c := range flaws {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$")
			cmd.Env = append(os.Environ(), "SDKTEST_FLAW="+name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Error("the suite found nothing wrong")
			}
			if !strings.Contains(string(out), c.want) {
				t.Errorf("missing %q in\n%s", c.want, out)
			}
		})
	}
}

func TestFakeHost(t *testing.T) {
	h := NewHost(t)
	h.Secrets = map[string]string{"token": "hush"}
	if v, err := h.Secret("token"); err != nil || v != "hush" {
		t.Errorf("secret: %q, %v", v, err)
	}
	if _, err := h.Secret("other"); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("a secret that is not set: %v", err)
	}
	if _, err := h.Dial(t.Context(), "tcp", "192.0.2.1:80"); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("dial to the outside: %v", err)
	}
	if err := h.State().Put("a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	if v, err := h.State().Get("a"); err != nil || string(v) != "1" {
		t.Errorf("state: %q, %v", v, err)
	}
	if v, err := h.State().Get("b"); v != nil || err != nil {
		t.Errorf("a missing key: %q, %v", v, err)
	}
	at := time.Unix(42, 0)
	h.Clock = func() time.Time { return at }
	if !h.Now().Equal(at) {
		t.Error("the clock is not the test's")
	}
}
