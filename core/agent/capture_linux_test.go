package agent

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk/records"
)

func buildTraffic(tb testing.TB) {
	tb.Helper()
	build := exec.Command("go", "build", "-o", filepath.Join(helpers(tb), "picket-traffic"), "github.com/picketwatch/picket/cmd/picket-traffic")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("%v: %s", err, out)
	}
}

// TestCapturedFlowsReachTheServer captures on the loopback interface with a confined worker.
func TestCapturedFlowsReachTheServer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	buildTraffic(t)
	s := newSite(t)
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, port, _ := net.SplitHostPort(to.LocalAddr().String())
	a := s.start(t.TempDir(), func(c *Config) {
		c.Captures = []Capture{{Config: packetsocket.Config{Interface: "lo", Filter: "udp port " + port, RingBytes: 16 << 20}}, {Config: packetsocket.Config{Interface: "nowhere0"}}}
	})
	s.until("the worker, and why the other capture has none", func() bool {
		f := a.captureFigures()
		return f[0].Run != "" && strings.Contains(f[1].Problem, "no such interface")
	})
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for range 3 {
		if _, err := from.Write([]byte("picket")); err != nil {
			t.Fatal(err)
		}
	}
	s.until("the packets", func() bool { f := a.captureFigures(); return f[0].Packets == 3 && f[0].Open == 1 })
	a.stop() // which closes the flow, and sends it

	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.batches, func(b batchIn) bool { return b.Path == "/api/v1/flows" })
	if i < 0 {
		t.Fatalf("no flows among %d batches", len(s.batches))
	}
	b := s.batches[i].Flows
	frames, err := b.Unpack()
	if err != nil || b.Interface != "lo" || b.Run == "" || b.Filter != "udp port "+port || b.Started.IsZero() {
		t.Fatalf("%+v: %v", b, err)
	}
	frames = slices.DeleteFunc(frames, func(p records.Parcel) bool { return records.SchemaOf(p.Frame) != records.Flows })
	if len(frames) != 1 {
		t.Fatalf("%d frames of flows", len(frames))
	}
	if frames[0].Features == nil {
		t.Error("the flows came without their features")
	}
	flows, err := records.DecodeFlows(frames[0].Frame, nil)
	if err != nil || len(flows) != 1 || flows[0].FwdPackets != 3 || flows[0].FwdPayload != 18 || flows[0].DstPort == 0 {
		t.Errorf("%+v, %v", flows, err)
	}
	if len(s.forged) != 0 {
		t.Errorf("requests that were refused: %v", s.forged)
	}
}

func TestCapturesAreChecked(t *testing.T) {
	buildTraffic(t)
	for says, list := range map[string][]Capture{
		"not looked up": {{Config: packetsocket.Config{Interface: "lo", Filter: "host example.org"}}}, "name an interface": {{}}, "at most 16": make([]Capture, 17),
	} {
		a := &Agent{cfg: Config{Captures: list, Helpers: helpers(t)}}
		if err := a.newCaptures(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
}

// TestDoctorSaysWhichCapturesAreJudged asks of five, of which detectors see four.
func TestDoctorSaysWhichCapturesAreJudged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	buildTraffic(t)
	cfg := newSite(t).cfg(t.TempDir())
	cfg.Captures = []Capture{{Config: packetsocket.Config{Interface: "lo", Filter: "tcp"}}, {Config: packetsocket.Config{Interface: "lo", Filter: "udp"}}, {Config: packetsocket.Config{Interface: "lo"}}, {Config: packetsocket.Config{Interface: "lo"}}, {Config: packetsocket.Config{Interface: "lo"}}}
	var out bytes.Buffer
	if _, err := Doctor(t.Context(), cfg, &out); err != nil {
		t.Fatal(err)
	}
	if said := out.String(); strings.Count(said, "packets can be read") != 5 || strings.Count(said, "detectors judge the first 4") != 1 {
		t.Errorf("%s", said)
	}
}
