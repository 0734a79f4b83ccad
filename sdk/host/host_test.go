//go:build unix

package host

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// patience bounds every wait of these tests; nothing is expected to take anywhere near as long.
const patience = 60 * time.Second

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// logBuffer gathers log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waitFor polls until the log contains the text.
func (l *logBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(l.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in the log:\n%s", text, l)
		}
	}
}

func testConfig(t *testing.T, kind string) (Config, *logBuffer) {
	t.Helper()
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	log := &logBuffer{}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"PICKET_TEST_PLUGIN=" + kind}
	cfg := Config{Name: kind, Cmd: cmd, SocketDir: dir, StartTimeout: patience, Log: slog.New(slog.NewTextHandler(log, nil))}
	if runtime.GOOS == "linux" && os.Getenv(overGRPC) == "" {
		giveRecords(t, &cfg)
	}
	return cfg, log
}

// overGRPC in the environment of the tests keeps them from using the record plane.
const overGRPC = "PICKET_TEST_OVER_GRPC"

// giveRecords gives the process of cfg a record plane and a ring.
func giveRecords(t *testing.T, cfg *Config) {
	t.Helper()
	own, child, err := RecordsPair()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewRing(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { own.Close(); child.Close(); ring.Close() })
	cfg.Records, cfg.Ring = own, ring
	cfg.Cmd.ExtraFiles = append(cfg.Cmd.ExtraFiles, child)
	cfg.Cmd.Env = append(cfg.Cmd.Env, fmt.Sprintf("%s=%d", RecordsEnv, 2+len(cfg.Cmd.ExtraFiles)))
}

// Everything else here must hold without a record plane too.
func TestAllOverGRPC(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getenv(overGRPC) != "" {
		t.Skip("the tests run over gRPC already")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.short="+fmt.Sprint(testing.Short()))
	cmd.Env = append(os.Environ(), overGRPC+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func start(t *testing.T, kind string) (*Process, *logBuffer) {
	t.Helper()
	cfg, log := testConfig(t, kind)
	p, err := Start(testContext(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, log
}

func configure(t *testing.T, p *Process, plugin, config string, grants ...sdk.Permission) *Instance {
	t.Helper()
	i, err := p.Configure(testContext(t), InstanceConfig{Instance: "i", Plugin: plugin, Config: json.RawMessage(config), Grants: grants,
		Secrets: map[string]string{"token": "hush"}, StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// sinks gather what is emitted.
type sinks struct {
	samples   []sdk.Sample
	sightings []sdk.Sighting
	findings  []sdk.Finding
}

func (s *sinks) Sample(v sdk.Sample) error {
	s.samples = append(s.samples, v)
	return nil
}

func (s *sinks) Sighting(v sdk.Sighting) error {
	s.sightings = append(s.sightings, v)
	return nil
}

func (s *sinks) Finding(v sdk.Finding) error {
	s.findings = append(s.findings, v)
	return nil
}

func testFlows(n int) []sdk.Flow {
	flows := make([]sdk.Flow, n)
	for i := range flows {
		flows[i] = sdk.Flow{ID: uint64(i + 1), Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}), Proto: sdk.ProtoTCP,
			Start: time.Unix(int64(i), 0).UTC(), End: time.Unix(int64(i)+1, 0).UTC(), Packets: []uint64{uint64(i + 1)}, CommunityID: "1:x"}
	}
	return flows
}

func TestDescribe(t *testing.T) {
	p, _ := start(t, "honest")
	got, err := p.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, d := range got {
		ids = append(ids, d.ID)
	}
	if !reflect.DeepEqual(ids, []string{"test/clock", "test/fanout", "test/lengths", "test/seeker", "test/teller", "test/watchful"}) {
		t.Errorf("got %v", ids)
	}
	d := got[1]
	if d.Kind != sdk.KindDetector || !d.Subscription.Flows || len(d.Rules) != 1 || d.Rules[0].Techniques[0] != "T1046" ||
		!strings.Contains(string(d.ConfigSchema), `"limit"`) {
		t.Errorf("got %+v", d)
	}
	want := sdk.Subscription{Flows: true, Features: true, Facts: []string{sdk.FactsDNS, sdk.FactsMessages}}
	if d := got[5]; !d.Observes || !d.Passive || !reflect.DeepEqual(d.Subscription, want) || got[3].Observes {
		t.Errorf("got %+v", d)
	}
}

func TestObserver(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/watchful", `{}`)
	ctx := testContext(t)
	dns := []sdk.DNS{{Seen: sdk.Seen{Time: time.Unix(3, 0).UTC(), Client: netip.MustParseAddr("fe80::1"), Packet: 7}, Protocol: "mdns", Query: "printer.local",
		Answers: []string{"one", "two"}}}
	messages := make([]sdk.Message, 5)
	messages[4].Fields = map[string]string{"a": "b"}
	var got sinks
	for _, frame := range [][]byte{records.AppendFacts(nil, dns), records.AppendFacts(nil, messages), records.AppendFlows(nil, testFlows(3))} {
		if err := i.Inspect(ctx, "c", frame, &got); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Flush(ctx, &got); err != nil {
		t.Fatal(err)
	}
	want := []sdk.Sighting{
		{Time: time.Unix(3, 0).UTC(), IP: netip.MustParseAddr("fe80::1"), Hostname: "printer.local", Facts: map[string]string{"answers": "one two"},
			Source: "mdns", Packet: 7, Confidence: 0.5},
		{Time: time.Unix(9, 0).UTC(), MAC: "00:11:22:33:44:55", Facts: map[string]string{"messages": "5"}, Confidence: 1},
	}
	if !reflect.DeepEqual(got.sightings, want) {
		t.Errorf("got  %+v\nwant %+v", got.sightings, want)
	}
	broken := records.AppendFacts(nil, dns)
	broken[len(broken)-1] ^= 1
	broken[32+88+4] = 0xff // more answers than there are bytes
	if err := i.Inspect(ctx, "c", broken, &got); err == nil || !strings.Contains(err.Error(), "not a valid record frame") {
		t.Errorf("a broken frame: %v", err)
	}
}

// findingsAlone is a sink that takes no sightings.
type findingsAlone struct{}

func (findingsAlone) Finding(sdk.Finding) error { return nil }

func TestSightingsNobodyTakes(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/watchful", `{}`)
	if err := i.Flush(testContext(t), findingsAlone{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("got %v", err)
	}
	if err := i.Flush(testContext(t), &sinks{}); err != nil { // the process is none the worse for it
		t.Error(err)
	}
}

func TestDetector(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/fanout", `{"limit": 4}`)
	ctx := testContext(t)
	var got sinks
	if err := i.Inspect(ctx, "a.pcap", records.AppendFlows(nil, testFlows(3)), &got); err != nil || len(got.findings) != 0 {
		t.Fatalf("after three flows: %v, %v", got.findings, err)
	}
	if err := i.Inspect(ctx, "a.pcap", records.AppendFlows(nil, testFlows(5)), &got); err != nil {
		t.Fatal(err)
	}
	want := sdk.Finding{Detector: "test/fanout", Rule: "many", Severity: sdk.SeverityMedium, Risk: 50, Confidence: 0.9, Techniques: []string{"T1046"},
		Src: "10.0.0.1", Start: time.Unix(3, 0).UTC(), End: time.Unix(4, 0).UTC(), Packets: []uint64{4}, Summary: "Many destinations in a.pcap",
		Flows:    []sdk.FlowRef{{ID: 4, CommunityID: "1:x", Proto: "tcp", Src: "10.0.0.1:0", Dst: "10.0.1.3:0"}},
		Features: map[string]float64{"destinations": 4}}
	want.ID = sdk.FindingID(want)
	if len(got.findings) != 1 || !reflect.DeepEqual(got.findings[0], want) {
		t.Errorf("got  %+v\nwant %+v", got.findings, want)
	}
	got = sinks{}
	if err := i.Flush(ctx, &got); err != nil || len(got.findings) != 1 || got.findings[0].Summary != "1 sources" {
		t.Errorf("flush gave %+v, %v", got.findings, err)
	}
}

func TestSnapshotGoesToAnotherInstance(t *testing.T) {
	p, _ := start(t, "honest")
	ctx := testContext(t)
	a := configure(t, p, "test/fanout", `{}`)
	var got sinks
	if err := a.Inspect(ctx, "c", records.AppendFlows(nil, testFlows(2)), &got); err != nil {
		t.Fatal(err)
	}
	state, err := a.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	b := configure(t, p, "test/fanout", `{}`)
	if err := b.Restore(ctx, state); err != nil {
		t.Fatal(err)
	}
	if err := b.Inspect(ctx, "c", records.AppendFlows(nil, testFlows(3)), &got); err != nil || len(got.findings) != 1 {
		t.Errorf("the state was lost: %+v, %v", got.findings, err)
	}
	c := configureAs(t, p, "c", "test/clock", `{}`)
	if _, err := c.Snapshot(ctx); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("snapshot of an instance without state: %v", err)
	}
}

func configureAs(t *testing.T, p *Process, id, plugin, config string) *Instance {
	t.Helper()
	i, err := p.Configure(testContext(t), InstanceConfig{Instance: id, Plugin: plugin, Config: json.RawMessage(config)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestCollector(t *testing.T) {
	p, _ := start(t, "honest")
	ctx := testContext(t)
	due := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	var got sinks
	if err := configure(t, p, "test/clock", `{}`).Collect(ctx, sdk.CollectRequest{Time: due, Interval: time.Minute}, &got); err != nil {
		t.Fatal(err)
	}
	want := []sdk.Sample{{Metric: "test.interval", Unit: "1", Type: sdk.Gauge, Time: due, Value: 60, Labels: map[string]string{"due": "2026-01-02T03:04:05.000000006Z"}}}
	if !reflect.DeepEqual(got.samples, want) {
		t.Errorf("got  %+v\nwant %+v", got.samples, want)
	}
	many := configureAs(t, p, "many", "test/clock", `{"mode": "many", "count": 5000}`)
	got = sinks{}
	if err := many.Collect(ctx, sdk.CollectRequest{Time: due}, &got); err != nil || len(got.samples) != 5000 || got.samples[4999].Value != 4999 {
		t.Errorf("%d samples, %v", len(got.samples), err)
	}
}

func TestASinkCanStopTheWork(t *testing.T) {
	p, _ := start(t, "honest")
	i := configureAs(t, p, "i", "test/clock", `{"mode": "many", "count": 100000}`)
	full := errors.New("the disk is full")
	n := 0
	err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, sampleFunc(func(sdk.Sample) error {
		if n++; n == 10 {
			return full
		}
		return nil
	}))
	if !errors.Is(err, full) || n != 10 {
		t.Errorf("after %d samples: %v", n, err)
	}
	if _, err := i.Health(testContext(t)); err != nil {
		t.Errorf("the instance is lost: %v", err)
	}
}

type sampleFunc func(sdk.Sample) error

func (f sampleFunc) Sample(s sdk.Sample) error { return f(s) }

func TestDiscovery(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/seeker", `{"see": ["10.0.0.1", "10.9.0.1", "10.0.0.2"]}`)
	var got sinks
	err := i.Discover(testContext(t), sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}, &got)
	if err == nil || !strings.Contains(err.Error(), "outside the scope") {
		t.Errorf("got %v, want an error about the scope", err)
	}
	if len(got.sightings) != 2 || got.sightings[1].IP.String() != "10.0.0.2" || got.sightings[0].MAC != "02:00:00:00:00:01" ||
		got.sightings[0].Facts["rtt_seconds"] != "0.1" {
		t.Errorf("got %+v", got.sightings)
	}
}

func TestNotifier(t *testing.T) {
	p, _ := start(t, "honest")
	i := configure(t, p, "test/teller", ``)
	receipt, err := i.Notify(testContext(t), sdk.Notice{ID: "n1", Event: "alert.firing", Alert: &sdk.Finding{Summary: "s"}})
	if err != nil || receipt != (sdk.Receipt{ForeignID: "n1", URL: "s", Undoable: true}) {
		t.Errorf("got %+v, %v", receipt, err)
	}
	if _, err := i.Notify(testContext(t), sdk.Notice{Event: "test"}); sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "nobody listens") {
		t.Errorf("got %v", err)
	}
}

func TestErrorsKeepClassAndRetry(t *testing.T) {
	p, _ := start(t, "honest")
	ctx := testContext(t)
	err := configureAs(t, p, "i", "test/clock", `{"mode": "temporary"}`).Collect(ctx, sdk.CollectRequest{}, &sinks{})
	var e *sdk.Error
	if !errors.As(err, &e) || e.Class != sdk.Temporary || e.RetryAfter != time.Minute {
		t.Errorf("got %#v", err)
	}
	if _, err := configureAs(t, p, "bad", "test/clock", `{"mode": "bad"}`).Health(ctx); sdk.ClassOf(err) != sdk.Downstream {
		t.Errorf("health: %v", err)
	}
	for name, c := range map[string]struct {
		cfg  InstanceConfig
		want sdk.Class
	}{
		"unknown plugin":  {InstanceConfig{Instance: "x", Plugin: "test/none"}, sdk.InvalidConfig},
		"unknown key":     {InstanceConfig{Instance: "x", Plugin: "test/clock", Config: []byte(`{"a": 1}`)}, sdk.InvalidConfig},
		"refused value":   {InstanceConfig{Instance: "x", Plugin: "test/clock", Config: []byte(`{"count": 13}`)}, sdk.InvalidConfig},
		"instance twice":  {InstanceConfig{Instance: "i", Plugin: "test/clock"}, sdk.InvalidConfig},
		"no name":         {InstanceConfig{Plugin: "test/clock"}, sdk.InvalidConfig},
		"not a plugin id": {InstanceConfig{Instance: "x", Plugin: "clock"}, sdk.InvalidConfig},
	} {
		if _, err := p.Configure(ctx, c.cfg); sdk.ClassOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := configureAs(t, p, "d", "test/fanout", ``).Collect(ctx, sdk.CollectRequest{}, &sinks{}); sdk.ClassOf(err) != sdk.Unsupported {
		t.Errorf("the wrong kind of work: %v", err)
	}
	// After a refused configuration the name is free.
	configureAs(t, p, "x", "test/clock", `{}`)
}

func TestBadSamplesAreLeftOut(t *testing.T) {
	p, _ := start(t, "honest")
	var got sinks
	err := configureAs(t, p, "i", "test/clock", `{"mode": "bad"}`).Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, &got)
	if err == nil || !strings.Contains(err.Error(), "NaN") || len(got.samples) != 1 || got.samples[0].Metric != "test.good" {
		t.Errorf("got %+v, %v", got.samples, err)
	}
}

func TestSecretsNeedAGrant(t *testing.T) {
	p, _ := start(t, "honest")
	ctx := testContext(t)
	req := sdk.CollectRequest{Time: time.Unix(1, 0)}
	err := configure(t, p, "test/clock", `{"mode": "secret"}`).Collect(ctx, req, &sinks{})
	if sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("without a grant: %v", err)
	}
	q, _ := start(t, "honest")
	var got sinks
	i := configure(t, q, "test/clock", `{"mode": "secret"}`, sdk.Permission{Cap: sdk.CapSecretRead, Args: map[string][]string{"keys": {"token"}}})
	if err := i.Collect(ctx, req, &got); err != nil || got.samples[0].Labels["value"] != "hush" || got.samples[0].Labels["field"] != "hush" {
		t.Errorf("with a grant: %+v, %v", got.samples, err)
	}
}

func TestStateSurvivesTheProcess(t *testing.T) {
	dir := t.TempDir()
	for want := range 3 {
		p, _ := start(t, "honest")
		i, err := p.Configure(testContext(t), InstanceConfig{Instance: "i", Plugin: "test/clock", Config: []byte(`{"mode": "state"}`), StateDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		var got sinks
		if err := i.Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, &got); err != nil || got.samples[0].Value != float64(want) {
			t.Fatalf("run %d: %+v, %v", want, got.samples, err)
		}
		p.Kill()
	}
}

func TestPluginGetsOnlyItsEnvironment(t *testing.T) {
	t.Setenv("PICKET_TEST_HOST_SECRET", "must not leak")
	p, _ := start(t, "honest")
	var got sinks
	if err := configureAs(t, p, "i", "test/clock", `{"mode": "env"}`).Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, &got); err != nil {
		t.Fatal(err)
	}
	env := got.samples[0].Labels["env"]
	if strings.Contains(env, "must not leak") || strings.Contains(env, "PATH=") || strings.Contains(env, LifelineEnv) {
		t.Errorf("the plugin sees %s", env)
	}
	if mode := got.samples[0].Labels["stdin"]; !strings.HasPrefix(mode, "D") {
		t.Errorf("stdin has mode %s, want the null device", mode)
	}
}

func TestLogLines(t *testing.T) {
	p, log := start(t, "honest")
	if err := configureAs(t, p, "i", "test/clock", `{"mode": "log"}`).Collect(testContext(t), sdk.CollectRequest{}, &sinks{}); err != nil {
		t.Fatal(err)
	}
	log.waitFor(t, `level=WARN msg=look answer=42 instance=i`)
	log.waitFor(t, `level=ERROR msg="from the default log"`)
	log.waitFor(t, `level=INFO msg="plain text"`)
	log.waitFor(t, `level=INFO msg="on stdout"`)
	log.waitFor(t, `level=INFO msg="past os.Stdout"`)
}

func TestCrash(t *testing.T) {
	p, log := start(t, "honest")
	err := configureAs(t, p, "i", "test/clock", `{"mode": "crash"}`).Collect(testContext(t), sdk.CollectRequest{}, &sinks{})
	if sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("got %v", err)
	}
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("the end of the process was not noticed")
	}
	if p.ExitCode() != 2 {
		t.Errorf("exit code %d", p.ExitCode())
	}
	log.waitFor(t, "the spring broke")
	if _, err := p.Describe(testContext(t)); sdk.ClassOf(err) != sdk.Temporary {
		t.Errorf("a call after the end: %v", err)
	}
	if err := p.Stop(testContext(t)); err != nil {
		t.Errorf("stop after the end: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	p, _ := start(t, "honest")
	for _, mode := range []string{"hang", "ignore"} {
		i := configureAs(t, p, mode, "test/clock", `{"mode": "`+mode+`"}`)
		ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
		err := i.Collect(ctx, sdk.CollectRequest{}, &sinks{})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || sdk.ClassOf(err) != sdk.Temporary {
			t.Errorf("%s: %v", mode, err)
		}
	}
	// What hangs does not hold up the others, nor the end.
	if err := configureAs(t, p, "i", "test/clock", `{}`).Collect(testContext(t), sdk.CollectRequest{Time: time.Unix(1, 0)}, &sinks{}); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if err := p.Stop(ctx); err == nil {
		t.Error("nobody said that an instance did not stop")
	}
	select {
	case <-p.Exited():
	default:
		t.Error("Stop returned with the process alive")
	}
}

func TestStopIsGraceful(t *testing.T) {
	p, log := start(t, "honest")
	configureAs(t, p, "i", "test/clock", `{}`)
	for range 2 {
		if err := p.Stop(testContext(t)); err != nil {
			t.Fatal(err)
		}
	}
	log.waitFor(t, "msg=stopped")
	if p.ExitCode() != 0 {
		t.Errorf("exit code %d", p.ExitCode())
	}
	left, err := os.ReadDir(p.runner.dir)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the socket is still there: %v, %v", left, err)
	}
}

func TestAFrozenProcessIsKilled(t *testing.T) {
	p, _ := start(t, "honest")
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d: %v", p.PID(), err)
	}
}

func TestHostileProcess(t *testing.T) {
	p, _ := start(t, "hostile")
	ctx := testContext(t)
	if d, err := p.Describe(ctx); err == nil {
		t.Errorf("it may describe %+v", d)
	}
	i := configureAs(t, p, "i", "test/clock", ``)
	var got sinks
	err := i.Collect(ctx, sdk.CollectRequest{Time: time.Unix(1, 0)}, &got)
	if err == nil || !strings.Contains(err.Error(), "4 samples were refused") || len(got.samples) != 2 {
		t.Errorf("samples: %+v, %v", got.samples, err)
	}
	err = i.Inspect(ctx, "c", nil, &got)
	if err == nil || !strings.Contains(err.Error(), "5 findings were refused") || !strings.Contains(err.Error(), "and then it failed") {
		t.Errorf("findings: %v", err)
	}
	if len(got.findings) != 1 || got.findings[0].Detector != "test/clock" || len(got.findings[0].Summary) > 4096 {
		t.Errorf("%d findings", len(got.findings))
	}
	err = i.Discover(ctx, sdk.Scope{Prefixes: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, &got)
	if err == nil || len(got.sightings) != 1 {
		t.Errorf("sightings: %+v, %v", got.sightings, err)
	}
	if r, err := i.Notify(ctx, sdk.Notice{}); err != nil || len(r.URL) > 4096 {
		t.Errorf("a receipt of %d bytes, %v", len(r.URL), err)
	}
	if _, err := i.Snapshot(ctx); err == nil {
		t.Error("a message over the limit got through")
	}
	many := sinks{}
	if err := configureAs(t, p, "many", "test/fanout", ``).Inspect(ctx, "c", nil, &many); err == nil || len(many.findings) != 10_000 {
		t.Errorf("%d findings, %v", len(many.findings), err)
	}
	huge := sinks{}
	if err := configureAs(t, p, "huge", "test/fanout", ``).Inspect(ctx, "c", nil, &huge); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("%d findings, %v", len(huge.findings), err)
	}
	endless := sinks{}
	if err := configureAs(t, p, "endless", "test/clock", ``).Collect(ctx, sdk.CollectRequest{Time: time.Unix(1, 0)}, &endless); err == nil || len(endless.samples) != 200_000 {
		t.Errorf("%d samples, %v", len(endless.samples), err)
	}
	if _, err := i.Health(ctx); err != nil {
		t.Errorf("the connection is lost: %v", err)
	}
	// It does not stop either.
	stop, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := p.Stop(stop); err == nil {
		t.Error("nobody said so")
	}
}

func TestProcessesThatDoNotStart(t *testing.T) {
	for kind, want := range map[string]string{
		"elsewhere": "not in its folder",
		"network":   "not in its folder",
		"garbage":   "may not be a plugin",
		"silent":    "timeout",
	} {
		t.Run(kind, func(t *testing.T) {
			cfg, _ := testConfig(t, kind)
			if kind == "silent" {
				cfg.StartTimeout = 200 * time.Millisecond
			}
			_, err := Start(testContext(t), cfg)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %q", err, want)
			}
			if err := syscall.Kill(cfg.Cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("process %d is still there: %v", cfg.Cmd.Process.Pid, err)
			}
		})
	}
	cfg, _ := testConfig(t, "honest")
	cfg.Cmd = exec.Command("/does/not/exist")
	if _, err := Start(testContext(t), cfg); err == nil {
		t.Error("a missing program was started")
	}
	cfg.SocketDir = "/" + strings.Repeat("x", 100)
	if _, err := Start(testContext(t), cfg); err == nil || !strings.Contains(err.Error(), "folder for sockets") {
		t.Errorf("a long path: %v", err)
	}
}

// A plugin that begins to speak on the record plane and falls silent takes no more than the time that a start has.
func TestStartEndsInTheHandshakeOfTheRecords(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no record plane")
	}
	cfg, _ := testConfig(t, "honest")
	cfg.Cmd = exec.Command(os.Args[0])
	cfg.Cmd.Env = []string{"PICKET_TEST_PLUGIN=honest"}
	own, child, err := RecordsPair()
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	if _, err := child.Write([]byte("P")); err != nil {
		t.Fatal(err)
	}
	cfg.Records, cfg.StartTimeout = own, 2*time.Second
	done := make(chan error, 1)
	go func() {
		_, err := Start(t.Context(), cfg)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "it was not up within 2s") {
			t.Errorf("got %v", err)
		}
		if err := syscall.Kill(cfg.Cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", cfg.Cmd.Process.Pid, err)
		}
	case <-time.After(patience):
		t.Fatal("the host waits")
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	cfg, _ := testConfig(t, "silent")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Start(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	if err := syscall.Kill(cfg.Cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", cfg.Cmd.Process.Pid, err)
	}
}

func TestAPluginDiesWithItsHost(t *testing.T) {
	p, _ := start(t, "honest")
	p.runner.lifeline.Close() // as the kernel does when the host is killed
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("the plugin lives on")
	}
}

// A child that keeps the pipes open must not hide the end of the plugin.
func TestAChildHoldsThePipes(t *testing.T) {
	p, log := start(t, "holds-pipes")
	log.waitFor(t, "child ")
	var child int
	if _, err := fmt.Sscanf(log.String()[strings.Index(log.String(), "child "):], "child %d", &child); err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(child, syscall.SIGKILL) //nolint:errcheck // it may have ended
	done := make(chan struct{})
	go func() {
		p.Kill()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience / 2):
		t.Fatal("Kill waits for the child")
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	p, _ := start(t, "honest")
	i := configureAs(t, p, "i", "test/fanout", `{"limit": 1}`)
	frame := records.AppendFlows(nil, testFlows(3))
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if err := i.Inspect(testContext(t), fmt.Sprint(n), frame, &sinks{}); err != nil {
				t.Error(err)
			}
			if _, err := i.Health(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
