//go:build unix

package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/serve"
)

// The test binary starts itself as the plugin.
func TestMain(m *testing.M) {
	switch os.Getenv("PICKET_TEST_PLUGIN") {
	case "":
		os.Exit(m.Run())
	case "honest":
		for _, p := range testPlugins() {
			sdk.Register(p)
		}
		serve.Main()
	case "hostile":
		serve.Serve(hostile{})
	case "pusher":
		serve.Serve(newPusher())
	case "forger":
		serve.Serve(newForger())
	case "silent":
		select {}
	case "elsewhere":
		fmt.Println("1|1|unix|/run/somebody/else.sock|grpc|")
		select {}
	case "network":
		fmt.Println("1|1|tcp|192.0.2.1:22|grpc|")
		select {}
	case "garbage":
		fmt.Println("hello")
		select {}
	case "holds-pipes":
		child := exec.Command("/bin/sleep", "60")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		if err := child.Start(); err != nil {
			os.Exit(9)
		}
		fmt.Fprintln(os.Stderr, "child", child.Process.Pid)
		serve.Serve(hostile{})
	}
}

func testPlugins() []sdk.Plugin {
	return []sdk.Plugin{
		{ID: "test/fanout", Kind: sdk.KindDetector, Summary: "Counts destinations.", Subscription: sdk.Subscription{Flows: true},
			Rules: []sdk.Rule{{ID: "many", Purpose: "Many destinations.", Techniques: []string{"T1046"}, Severity: sdk.SeverityMedium}},
			New:   func() sdk.Instance { return &fanout{} }},
		{ID: "test/lengths", Kind: sdk.KindDetector, Summary: "Adds up packets.", Subscription: sdk.Subscription{Packets: &sdk.PacketSubscription{Layers: []string{"dns"}, SnapLen: 128}},
			Rules: []sdk.Rule{{ID: "sum", Purpose: "Packets.", Techniques: []string{"T1046"}, Severity: sdk.SeverityInfo}},
			New:   func() sdk.Instance { return &lengths{} }},
		{ID: "test/clock", Kind: sdk.KindCollector, Summary: "Measures.", New: func() sdk.Instance { return &clock{} }},
		{ID: "test/seeker", Kind: sdk.KindDiscovery, Summary: "Sees.", New: func() sdk.Instance { return &seeker{} }},
		{ID: "test/watchful", Kind: sdk.KindDiscovery, Summary: "Watches.", New: func() sdk.Instance { return &watchful{} },
			Subscription: sdk.Subscription{Flows: true, Features: true, Facts: []string{sdk.FactsDNS, sdk.FactsMessages}}},
		{ID: "test/teller", Kind: sdk.KindNotifier, Summary: "Tells.", New: func() sdk.Instance { return &teller{} }},
	}
}

// watchful is an observer of the clients of DNS. It remembers how many messages it was shown.
type watchful struct{ messages int }

func (w *watchful) Config() any { return nil }

func (w *watchful) Observe(_ context.Context, b sdk.Batch, sink sdk.SightingSink) error {
	w.messages += len(b.Messages)
	for i := range b.DNS {
		d := &b.DNS[i]
		facts := map[string]string{"answers": strings.Join(d.Answers, " ")}
		if err := sink.Sighting(sdk.Sighting{Time: d.Time, IP: d.Client, Hostname: d.Query, Facts: facts, Source: d.Protocol, Capture: "not it", Packet: d.Packet, Confidence: 0.5}); err != nil {
			return err
		}
	}
	return nil
}

func (w *watchful) EndCapture(_ context.Context, sink sdk.SightingSink) error {
	facts := map[string]string{"messages": strconv.Itoa(w.messages)}
	w.messages = 0
	return sink.Sighting(sdk.Sighting{Time: time.Unix(9, 0), MAC: "00:11:22:33:44:55", Facts: facts, Confidence: 1})
}

// fanout is a detector with state.
type fanout struct {
	cfg struct {
		Limit int `json:"limit" default:"3" min:"1" doc:"Destinations before a finding."`
	}
	seen map[netip.Addr]map[netip.Addr]bool
}

func (f *fanout) Config() any { return &f.cfg }

func (f *fanout) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	if f.seen == nil {
		f.seen = map[netip.Addr]map[netip.Addr]bool{}
	}
	for _, flow := range b.Flows {
		if f.seen[flow.Src] == nil {
			f.seen[flow.Src] = map[netip.Addr]bool{}
		}
		f.seen[flow.Src][flow.Dst] = true
		if len(f.seen[flow.Src]) == f.cfg.Limit {
			err := sink.Finding(sdk.Finding{Rule: "many", Severity: sdk.SeverityMedium, Risk: 50, Confidence: 0.9, Techniques: []string{"T1046"},
				Src: flow.Src.String(), Start: flow.Start, End: flow.End, Packets: flow.Packets, Flows: []sdk.FlowRef{flow.Ref()},
				Features: map[string]float64{"destinations": float64(f.cfg.Limit)}, Summary: "Many destinations in " + b.Capture})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fanout) Flush(_ context.Context, sink sdk.FindingSink) error {
	n := len(f.seen)
	f.seen = nil
	if n == 0 {
		return nil
	}
	return sink.Finding(sdk.Finding{Rule: "many", Severity: sdk.SeverityInfo, Confidence: 1, Techniques: []string{}, Summary: fmt.Sprint(n, " sources")})
}

func (f *fanout) Snapshot(context.Context) ([]byte, error) {
	var b strings.Builder
	for src, dsts := range f.seen {
		for dst := range dsts {
			fmt.Fprintln(&b, src, dst)
		}
	}
	return []byte(b.String()), nil
}

func (f *fanout) Restore(_ context.Context, state []byte) error {
	f.seen = map[netip.Addr]map[netip.Addr]bool{}
	for _, line := range strings.Split(strings.TrimSpace(string(state)), "\n") {
		src, dst, _ := strings.Cut(line, " ")
		a := netip.MustParseAddr(src)
		if f.seen[a] == nil {
			f.seen[a] = map[netip.Addr]bool{}
		}
		f.seen[a][netip.MustParseAddr(dst)] = true
	}
	return nil
}

// clock is a collector that does what its configuration says.
type clock struct {
	cfg struct {
		Mode   string `json:"mode" default:"fine" enum:"fine,hang,crash,ignore,many,late,temporary,secret,state,env,log,bad"`
		Secret string `json:"token" secret:"true"`
		Count  int    `json:"count" default:"1000"`
	}
	host sdk.Host
}

func (c *clock) Config() any { return &c.cfg }

func (c *clock) Validate() error {
	if c.cfg.Count == 13 {
		return errors.New("13 brings bad luck")
	}
	return nil
}

func (c *clock) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

func (c *clock) Stop(context.Context) error {
	c.host.Log().Info("stopped")
	return nil
}

func (c *clock) Health(context.Context) error {
	if c.cfg.Mode == "bad" {
		return sdk.Errorf(sdk.Downstream, "the clock stands still")
	}
	return nil
}

func (c *clock) Collect(ctx context.Context, req sdk.CollectRequest, sink sdk.SampleSink) error {
	sample := func(name string, v float64, labels ...string) error {
		s := sdk.Sample{Metric: name, Type: sdk.Gauge, Unit: "1", Time: req.Time, Value: v, Labels: map[string]string{}}
		for i := 0; i < len(labels); i += 2 {
			s.Labels[labels[i]] = labels[i+1]
		}
		return sink.Sample(s)
	}
	switch c.cfg.Mode {
	case "hang":
		<-ctx.Done()
		return ctx.Err()
	case "ignore":
		select {}
	case "crash":
		panic("the spring broke")
	case "temporary":
		return &sdk.Error{Class: sdk.Temporary, Message: "later", RetryAfter: time.Minute}
	case "many":
		for i := range c.cfg.Count {
			if err := sample("test.many", float64(i), "i", fmt.Sprint(i)); err != nil {
				return err
			}
		}
		return nil
	case "bad":
		if err := sample("test.nan", math.NaN()); err != nil {
			return err
		}
		return sample("test.good", 1)
	case "secret":
		v, err := c.host.Secret("token")
		if err != nil {
			return err
		}
		return sample("test.secret", 1, "value", v, "field", c.cfg.Secret)
	case "state":
		old, err := c.host.State().Get("n")
		if err != nil {
			return err
		}
		if err := c.host.State().Put("n", append(old, 'x')); err != nil {
			return err
		}
		return sample("test.state", float64(len(old)))
	case "env":
		in, _ := os.Stdin.Stat()
		return sample("test.env", 1, "env", strings.Join(os.Environ(), " "), "stdin", in.Mode().String())
	case "log":
		c.host.Log().Warn("look", "answer", 42)
		slog.Error("from the default log")
		fmt.Fprintln(os.Stderr, "plain text")
		fmt.Println("on stdout")
		runtime.GC() // closes what nobody holds any more
		runtime.GC()
		_, err := syscall.Write(syscall.Stdout, []byte("past os.Stdout\n"))
		return err
	}
	return sample("test.interval", req.Interval.Seconds(), "due", req.Time.Format(time.RFC3339Nano))
}

// Watch emits numbered samples until it is told to end.
func (c *clock) Watch(ctx context.Context, sink sdk.SampleSink) error {
	for n := 0; ; n++ {
		if err := sink.Sample(sdk.Sample{Metric: "test.watched", Type: sdk.Counter, Time: time.Unix(1, 0), Value: float64(n)}); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// lengths says what packets it got.
type lengths struct{}

func (*lengths) Config() any { return nil }

func (*lengths) Inspect(_ context.Context, b sdk.Batch, sink sdk.FindingSink) error {
	bytes, text := uint32(0), ""
	for _, p := range b.Packets {
		bytes += p.Length
		text += string(p.Data)
	}
	return sink.Finding(sdk.Finding{Rule: "sum", Severity: sdk.SeverityInfo, Confidence: 1, Techniques: []string{},
		Summary: fmt.Sprintf("%d packets, %d bytes, %s", len(b.Packets), bytes, text)})
}

func (*lengths) Flush(context.Context, sdk.FindingSink) error { return nil }

// seeker sees what its configuration names.
type seeker struct {
	cfg struct {
		See []string `json:"see"`
	}
}

func (s *seeker) Config() any { return &s.cfg }

func (s *seeker) Discover(_ context.Context, _ sdk.Scope, sink sdk.SightingSink) error {
	for _, a := range s.cfg.See {
		v := sdk.Sighting{Time: time.Unix(1, 0).UTC(), IP: netip.MustParseAddr(a), MAC: "02:00:00:00:00:01", Hostname: "h", Confidence: 0.5,
			Facts: map[string]string{"rtt_seconds": "0.1"}}
		if err := sink.Sighting(v); err != nil {
			return err
		}
	}
	return nil
}

// teller fails as the notice asks.
type teller struct{}

func (*teller) Config() any { return nil }

func (*teller) Notify(_ context.Context, n sdk.Notice) (sdk.Receipt, error) {
	if n.Event == "test" {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "nobody listens")
	}
	return sdk.Receipt{ForeignID: n.ID, URL: n.Alert.Summary, Undoable: true}, nil
}

func (*teller) Undo(_ context.Context, r sdk.Receipt) error {
	if r.ForeignID != "T-1" {
		return sdk.Errorf(sdk.Downstream, "there is no %s", r.ForeignID)
	}
	return nil
}

func (*teller) Status(_ context.Context, r sdk.Receipt) (sdk.DeliveryStatus, error) {
	return sdk.DeliveryStatus{State: sdk.DeliveryClosed, Text: r.ForeignID + " done", Time: time.Unix(5, 0)}, nil
}

// hostile is a process that keeps none of the rules which the sdk keeps for honest plugins.
type hostile struct{}

func (hostile) Describe(context.Context) ([]abi.Description, error) {
	return []abi.Description{{ID: "../../etc", Kind: "x", ConfigSchema: []byte("{}")}}, nil
}
func (hostile) Configure(context.Context, abi.InstanceConfig) error { return nil }
func (hostile) Collect(ctx context.Context, instance string, req sdk.CollectRequest, sink sdk.SampleSink) error {
	good := sdk.Sample{Metric: "test.good", Type: sdk.Gauge, Time: req.Time, Value: 1}
	if instance == "endless" {
		for ctx.Err() == nil {
			if err := sink.Sample(good); err != nil {
				return err
			}
		}
		return ctx.Err()
	}
	bad := []sdk.Sample{good, good, good, good, good}
	bad[0].Value = math.NaN()
	bad[1].Type = "histogram"
	bad[2].Metric = "<script>"
	bad[3].Time = time.Time{}
	for _, s := range append(bad, good) {
		if err := sink.Sample(s); err != nil {
			return err
		}
	}
	return nil
}

func (hostile) Discover(_ context.Context, _ string, _ sdk.Scope, sink sdk.SightingSink) error {
	for _, a := range []string{"10.0.0.1", "192.0.2.1"} {
		if err := sink.Sighting(sdk.Sighting{Time: time.Unix(1, 0), IP: netip.MustParseAddr(a), Confidence: 1}); err != nil {
			return err
		}
	}
	return nil
}

func (hostile) Inspect(_ context.Context, instance, _ string, _ []byte, sink sdk.FindingSink) error {
	good := sdk.Finding{Detector: "somebody/else", Rule: "r", Severity: sdk.SeverityLow, Summary: strings.Repeat("x", 1<<20)}
	switch instance {
	case "many":
		good.Summary = ""
		for range 20_000 {
			if err := sink.Finding(good); err != nil {
				return err
			}
		}
		return nil
	case "huge":
		for range 100 {
			if err := sink.Finding(good); err != nil {
				return err
			}
		}
		return nil
	}
	bad := []sdk.Finding{good, good, good, good, good}
	bad[0].Severity = "catastrophic"
	bad[1].Confidence = math.NaN()
	bad[2].Risk = 1 << 40
	bad[3].Features = map[string]float64{"x": math.Inf(1)}
	bad[4].Techniques = []string{"<b>"}
	for _, f := range append(bad, good) {
		if err := sink.Finding(f); err != nil {
			return err
		}
	}
	return errors.New("and then it failed")
}

func (hostile) Flush(context.Context, string, sdk.FindingSink) error { return nil }
func (hostile) Notify(context.Context, string, sdk.Notice) (sdk.Receipt, error) {
	return sdk.Receipt{URL: strings.Repeat("x", 1<<20)}, nil
}
func (hostile) Watch(context.Context, string, sdk.SampleSink) error { return nil }
func (hostile) Undo(context.Context, string, sdk.Receipt) error     { return nil }
func (hostile) Status(context.Context, string, sdk.Receipt) (sdk.DeliveryStatus, error) {
	return sdk.DeliveryStatus{State: "lost"}, nil
}
func (hostile) Progress(string) (uint64, int)                    { return 0, 0 }
func (hostile) Health(context.Context, string) error             { return nil }
func (hostile) Snapshot(context.Context, string) ([]byte, error) { return make([]byte, 30<<20), nil }
func (hostile) Restore(context.Context, string, []byte) error    { return nil }
func (hostile) Stop(context.Context, string) error               { select {} }
func (hostile) StopAll(context.Context) error                    { select {} }

// pusher collects numbered samples and writes down those that the host has acknowledged.
type pusher struct {
	hostile
	next  uint64
	acked *os.File
}

func newPusher() *pusher {
	fd, _ := strconv.Atoi(os.Getenv("PICKET_TEST_ACKED"))
	first, _ := strconv.ParseUint(os.Getenv("PICKET_TEST_FIRST"), 10, 64)
	return &pusher{next: first, acked: os.NewFile(uintptr(fd), "acked")}
}

func (p *pusher) Collect(_ context.Context, _ string, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	var written []byte
	for range 700 {
		p.next++
		if err := sink.Sample(sdk.Sample{Metric: "test.n", Type: sdk.Counter, Time: time.Unix(1, 0), Value: float64(p.next)}); err != nil {
			return err
		}
		written = binary.LittleEndian.AppendUint64(written, p.next)
	}
	if err := sink.(io.Closer).Close(); err != nil { // waits for the acknowledgement
		return err
	}
	_, err := p.acked.Write(written)
	return err
}

// forger answers a batch that it never got.
type forger struct {
	hostile
	records *os.File
}

func newForger() *forger {
	fd, _ := strconv.Atoi(os.Getenv(RecordsEnv))
	own, _ := syscall.Dup(fd)
	return &forger{records: os.NewFile(uintptr(own), "records")}
}

func (f *forger) Inspect(context.Context, string, string, []byte, sdk.FindingSink) error {
	_, err := f.records.Write([]byte("PKPL\x00\x00\x00\x00\x04\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00"))
	time.Sleep(patience)
	return err
}
