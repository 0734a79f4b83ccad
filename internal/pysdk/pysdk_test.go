package pysdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
)

// probeConfig is the configuration of the probe as a Go plugin would declare it.
type probeConfig struct {
	Name    string            `json:"name" required:"true" doc:"What it is called."`
	Mode    string            `json:"mode" default:"count" enum:"count,wait,boom,temporary,nan,stubborn,print" doc:"What it does."`
	Count   int               `json:"count" default:"3" min:"1" max:"300000" doc:"How many."`
	Ratio   float64           `json:"ratio" default:"0.5" min:"0" max:"1" doc:"A share."`
	Pause   config.Duration   `json:"pause" default:"1m30s" min:"1s" max:"2h" doc:"A while."`
	Targets []string          `json:"targets" default:"example.org:443" format:"hostport" max:"3" doc:"Whom to ask."`
	Tags    map[string]string `json:"tags" doc:"Names and values."`
	Site    string            `json:"site" format:"url" doc:"A page."`
	Inner   struct {
		Depth    int    `json:"depth" default:"2" min:"0" max:"9" doc:"How deep."`
		Password string `json:"password" secret:"true" doc:"Kept to itself."`
	} `json:"inner" doc:"More."`
	Plain bool     `json:"plain" default:"false"`
	Nets  []string `json:"nets" format:"cidr" doc:"Networks."`
}

func TestDescription(t *testing.T) {
	p, _ := startProbe(t)
	plugins, err := p.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	byID := map[string]host.Description{}
	for _, d := range plugins {
		byID[d.ID] = d
	}
	d := byID["test/detector"]
	want := []sdk.Rule{{ID: "big", Purpose: "A flow with many bytes.", Techniques: []string{"T1041"}, Severity: sdk.SeverityLow, FalsePositives: []string{"Backups."}}}
	if d.Kind != sdk.KindDetector || !d.Subscription.Flows || !reflect.DeepEqual(d.Rules, want) {
		t.Errorf("%+v", d)
	}
	schema, err := config.Schema(&probeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if got := byID["test/collector"].ConfigSchema; !sameJSON(t, got, schema) {
		t.Errorf("the schema is\n%s\nwant\n%s", got, schema)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

// A configuration is refused for the same reasons as in Go, in the same words.
func TestConfiguration(t *testing.T) {
	p, _ := startProbe(t)
	for _, text := range []string{
		`{"name": "n"}`, `{}`, `{"name": ""}`, ``, `null`, `[]`, `{`, `{"name": "n"} x`, `{"name": "n", "other": 1, "another": {}}`, `{"name": "n", "name": "m"}`,
		`{"name": 1}`, `{"name": "n", "mode": "else"}`, `{"name": "n", "count": 1.5}`, `{"name": "n", "count": 0}`, `{"name": "n", "count": 300001}`,
		`{"name": "n", "count": 99999999999999999999999}`, `{"name": "n", "count": true}`, `{"name": "n", "ratio": 2}`, `{"name": "n", "ratio": 1e999}`, `{"name": "n", "ratio": "1"}`,
		`{"name": "n", "pause": "1ms"}`, `{"name": "n", "pause": "3h"}`, `{"name": "n", "pause": "soon"}`, `{"name": "n", "pause": "1.5h20m"}`, `{"name": "n", "pause": 5}`,
		`{"name": "n", "targets": "a:1"}`, `{"name": "n", "targets": ["a"]}`, `{"name": "n", "targets": ["a:1", "b:70000"]}`, `{"name": "n", "targets": ["a:1", "b:1", "c:1", "d:1"]}`,
		`{"name": "n", "targets": ["[::1]:80"]}`, `{"name": "n", "targets": ["::1:80"]}`, `{"name": "n", "tags": {"a": "b"}}`, `{"name": "n", "tags": {"a": 1}}`, `{"name": "n", "site": "example.org"}`,
		`{"name": "n", "site": "https://example.org/"}`, `{"name": "n", "inner": {"depth": 10}}`, `{"name": "n", "inner": {"deep": 1}}`, `{"name": "n", "inner": 1}`, `{"name": "n", "plain": "no"}`,
		`{"name": "n", "nets": ["10.0.0.0/8", "::/0"]}`, `{"name": "n", "nets": ["10.0.0.0"]}`, `{"name": "n", "nets": ["10.0.0.0/33"]}`, `{"name": "n", "nets": [1]}`,
		`{"name": "n", "mode": null}`, `{"name": "n", "mode": ""}`, `{"name": "n", "ratio": NaN}`, strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40),
	} {
		want := config.Decode([]byte(text), &probeConfig{})
		i, err := tryConfigure(t, p, "test/collector", text)
		if (err == nil) != (want == nil) {
			t.Errorf("%.80s: got %v, want %v", text, err, want)
		}
		if err != nil && sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%.80s: class %s", text, sdk.ClassOf(err))
		}
		// What is no JSON is said in the words of the parser; and where the secret should go is found before its type is.
		ownWords := want != nil && strings.Contains(want.Error(), "JSON") || strings.Contains(text, `"inner": 1`)
		if err != nil && want != nil && !ownWords && !strings.HasSuffix(err.Error(), want.Error()) {
			t.Errorf("%.80s:\n got %v\nwant %v", text, err, want)
		}
		if i != nil {
			if err := i.Stop(testContext(t)); err != nil {
				t.Error(err)
			}
		}
	}
	for name, class := range map[string]sdk.Class{"bad": sdk.InvalidConfig, "no start": sdk.Downstream} {
		if _, err := tryConfigure(t, p, "test/collector", fmt.Sprintf(`{"name": %q}`, name)); sdk.ClassOf(err) != class {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := tryConfigure(t, p, "test/none", `{}`); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("an unknown plugin: %v", err)
	}
}

func TestCollect(t *testing.T) {
	p, log := startProbe(t)
	when := time.Unix(1_700_000_000, 123_456_000).UTC()
	for name, c := range map[string]struct {
		mode    string
		count   int
		samples int
		class   sdk.Class
		words   string
	}{
		"few":         {"count", 3, 3, "", ""},
		"many":        {"count", 5000, 5000, "", ""},
		"too many":    {"count", 200_001, 200_000, sdk.Internal, "more than 200000 samples"},
		"a bug":       {"boom", 2, 2, sdk.Internal, "RuntimeError: boom"},
		"later":       {"temporary", 2, 2, sdk.Temporary, "later"},
		"not a value": {"nan", 2, 2, sdk.Internal, "1 samples were refused"},
		"the host":    {"print", 1, 3, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			i := configure(t, p, "test/collector", fmt.Sprintf(`{"name": "n", "mode": %q, "count": %d}`, c.mode, c.count))
			var s sinks
			err := i.Collect(testContext(t), sdk.CollectRequest{Time: when, Interval: time.Minute}, &s)
			if (err == nil) != (c.class == "") || err != nil && (sdk.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.words)) {
				t.Errorf("got %v", err)
			}
			if len(s.samples) != c.samples {
				t.Fatalf("%d samples", len(s.samples))
			}
			want := sdk.Sample{Metric: "test.count", Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"n": "0", "ü": "ß"}, Time: when}
			if !reflect.DeepEqual(s.samples[0], want) {
				t.Errorf("%+v", s.samples[0])
			}
			var e *sdk.Error
			if c.class == sdk.Temporary && (!errors.As(err, &e) || e.RetryAfter != 7*time.Second) {
				t.Errorf("retry after: %v", err)
			}
			if c.mode == "print" && (s.samples[1].Value != 1000 || s.samples[2].Value != 8) {
				t.Errorf("%+v", s.samples[1:])
			}
			if err := i.Stop(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	log.waitFor(t, "printed by the plugin")
	log.waitFor(t, "deep=2")
	log.waitFor(t, "RuntimeError")
	if strings.Contains(log.String(), "hush") {
		t.Error("the secret is in the log")
	}
}

func TestCancelDeadlineAndStop(t *testing.T) {
	p, log := startProbe(t)
	i := configure(t, p, "test/collector", `{"name": "n", "mode": "wait", "count": 1}`)
	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if err := i.Collect(ctx, sdk.CollectRequest{}, &sinks{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("deadline: %v", err)
	}
	ctx, cancel = context.WithCancel(testContext(t))
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := i.Collect(ctx, sdk.CollectRequest{}, &sinks{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- i.Collect(context.Background(), sdk.CollectRequest{}, &sinks{}) }()
	time.Sleep(50 * time.Millisecond) // only makes it likely that the call is at work
	if _, err := i.Health(testContext(t)); err != nil {
		t.Errorf("an instance at work is not healthy: %v", err)
	}
	if err := i.Stop(testContext(t)); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if err := <-done; sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("work that was stopped: %v", err)
	}
	log.waitFor(t, "stopped")
	if err := i.Stop(testContext(t)); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	if err := i.Collect(testContext(t), sdk.CollectRequest{}, &sinks{}); sdk.ClassOf(err) != sdk.Internal {
		t.Errorf("work after Stop: %v", err)
	}
	stubborn := configure(t, p, "test/collector", `{"name": "n", "mode": "stubborn"}`)
	ctx, cancel = context.WithTimeout(testContext(t), 200*time.Millisecond)
	defer cancel()
	if err := stubborn.Collect(ctx, sdk.CollectRequest{}, &sinks{}); err == nil {
		t.Error("a call that never ends was answered")
	}
	ctx, cancel = context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if err := stubborn.Stop(ctx); err == nil {
		t.Error("Stop did not wait for running work")
	}
}

func testFlows(n int) []sdk.Flow {
	flows := make([]sdk.Flow, n)
	for i := range flows {
		flows[i] = sdk.Flow{
			ID: uint64(i + 1), CommunityID: "1:x", Src: netip.MustParseAddr("10.0.0.1"), SrcPort: 1234, Dst: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), DstPort: 443,
			Proto: sdk.ProtoTCP, Start: time.Unix(1_700_000_000, int64(i)).UTC(), End: time.Unix(1_700_000_001, int64(i)).UTC(), Packets: []uint64{uint64(i + 1), 7}, FwdBytes: uint64(i),
		}
	}
	flows[n-1].Dst = netip.MustParseAddr("2001:db8::1")
	return flows
}

func TestDetect(t *testing.T) {
	p, _ := startProbe(t)
	detectAll(t, configure(t, p, "test/detector", `{}`))
}

func detectAll(t *testing.T, i *host.Instance) {
	t.Helper()
	flows := testFlows(1004)
	var s sinks
	if err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, flows), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.findings) != 3 {
		t.Fatalf("%d findings", len(s.findings))
	}
	f := flows[1003]
	want := sdk.Finding{
		Detector: "test/detector", Rule: "big", Severity: sdk.SeverityLow, Risk: 40, Confidence: 0.5, Techniques: []string{"T1041"}, Src: "10.0.0.1",
		Dst: "2001:db8::1", Start: f.Start, End: f.End, Packets: f.Packets, Flows: []sdk.FlowRef{f.Ref()}, Features: map[string]float64{"bytes": 1003}, Summary: "1003 bytes",
	}
	want.ID = sdk.FindingID(want)
	if !reflect.DeepEqual(s.findings[2], want) {
		t.Errorf("got\n%+v\nwant\n%+v", s.findings[2], want)
	}
	if err := i.Inspect(testContext(t), "undeclared", records.AppendFlows(nil, flows[:1]), &s); err == nil || !strings.Contains(err.Error(), "does not declare") {
		t.Errorf("an undeclared rule: %v", err)
	}
	if err := i.Inspect(testContext(t), "c", []byte("PKRW junk"), &s); err == nil {
		t.Error("junk was inspected")
	}
	state, err := i.Snapshot(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	s.findings = nil
	if err := i.Flush(testContext(t), &s); err != nil || len(s.findings) != 1 || s.findings[0].Summary != "seen 1005" {
		t.Errorf("%v, %+v", err, s.findings)
	}
	if err := i.Restore(testContext(t), state); err != nil {
		t.Fatal(err)
	}
	s.findings = nil
	if err := i.Flush(testContext(t), &s); err != nil || len(s.findings) != 1 || s.findings[0].Summary != "seen 1005" {
		t.Errorf("after Restore: %v, %+v", err, s.findings)
	}
	if err := i.Restore(testContext(t), []byte("junk")); err == nil {
		t.Error("junk was restored")
	}
}

func TestOtherKinds(t *testing.T) {
	p, _ := startProbe(t)
	scope := sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}}
	var s sinks
	i := configure(t, p, "test/discovery", `{}`)
	if err := i.Discover(testContext(t), scope, &s); err != nil || len(s.sightings) != 1 || s.sightings[0].IP.String() != "10.1.0.1" {
		t.Errorf("%v, %+v", err, s.sightings)
	}
	if err := i.Collect(testContext(t), sdk.CollectRequest{}, &s); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a discovery plugin collects: %v", err)
	}
	if _, err := i.Snapshot(testContext(t)); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("a snapshot without one: %v", err)
	}
	if err := errors.Join(i.Stop(testContext(t))); err != nil {
		t.Fatal(err)
	}
	s.sightings = nil
	stray := configure(t, p, "test/stray", `{}`)
	if err := stray.Discover(testContext(t), scope, &s); err == nil || len(s.sightings) != 1 || !strings.Contains(err.Error(), "outside the scope") {
		t.Errorf("%v, %+v", err, s.sightings)
	}
	if err := stray.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	n := configure(t, p, "test/notifier", `{}`)
	receipt, err := n.Notify(testContext(t), sdk.Notice{ID: "n1", Event: "alert.firing", Alert: &sdk.Finding{Rule: "r"}})
	if err != nil || receipt != (sdk.Receipt{ForeignID: "n1/r", URL: "https://example.org/1", Undoable: true}) {
		t.Errorf("%+v, %v", receipt, err)
	}
	if _, err := n.Notify(testContext(t), sdk.Notice{ID: "n2", Event: "test"}); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("got %v", err)
	}
}

func TestLifeOfTheProcess(t *testing.T) {
	p, log := startProbe(t)
	configure(t, p, "test/collector", `{"name": "n"}`)
	if err := p.Stop(testContext(t)); err != nil {
		t.Error(err)
	}
	if p.ExitCode() != 0 {
		t.Errorf("exit code %d\n%s", p.ExitCode(), log)
	}

	cfg, log := testConfig(t, "-I", zipapp(t, "testdata/probe"))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	cfg.Cmd.ExtraFiles = []*os.File{read}
	cfg.Cmd.Env = append(cfg.Cmd.Env, host.LifelineEnv+"=3")
	p = start(t, cfg, log)
	write.Close()
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("it lives on without its host")
	}
	if p.ExitCode() != 5 {
		t.Errorf("exit code %d", p.ExitCode())
	}
}

// A released plugin is started from a descriptor, in a file system that it cannot write to.
func TestStartFromADescriptor(t *testing.T) {
	name := zipapp(t, "testdata/probe")
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	cfg, log := testConfig(t, "/proc/self/fd/3")
	cfg.Cmd.ExtraFiles = []*os.File{f}
	begun := time.Now()
	p := start(t, cfg, log)
	t.Logf("start to ready: %s", time.Since(begun).Round(time.Millisecond))
	i := configure(t, p, "test/detector", `{}`)
	detectAll(t, i)
}

func TestNotStartedByAHost(t *testing.T) {
	cmd := exec.Command(python(t), "-I", zipapp(t, "testdata/probe"))
	cmd.Env = []string{}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "is a Picket plugin") {
		t.Errorf("%v: %s", err, out)
	}
	cmd = exec.Command(python(t), "-I", zipapp(t, "testdata/probe"), "describe")
	cmd.Env = []string{}
	out, err = cmd.CombinedOutput()
	var got []host.Description
	if err = errors.Join(err, json.Unmarshal(out, &got)); err != nil || len(got) < 5 || got[0].ID != "test/collector" {
		t.Errorf("%v: %s", err, out)
	}
}

// The SDK's own tests.
func TestPytest(t *testing.T) {
	root, err := filepath.Abs("../../sdk/python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python(t), "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PYTHONPATH="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
