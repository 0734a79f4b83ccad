package agent

import (
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// found are the findings of a rule that have arrived, in their order, and how long each took from its packet on. It runs
// under s.mu.
func (s *site) found(rule string) (list []sdk.Finding, took []time.Duration) {
	for _, b := range s.batches {
		for _, f := range b.Found.Findings {
			if f.Rule == rule {
				list, took = append(list, f), append(took, b.at.Sub(f.Start))
			}
		}
	}
	return list, took
}

// TestDetectorsJudgeLiveTraffic assigns a detector to an agent that captures already: it is shown packets and flows from
// then on, what it finds comes at once, and it goes when it is taken away.
func TestDetectorsJudgeLiveTraffic(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	buildTraffic(t)
	s := newSite(t)
	self, err := programs.Read()
	if err != nil {
		t.Fatal(err)
	}
	grants := []sdk.Permission{{Cap: sdk.CapFlowsRead, Reason: "It judges flows."},
		{Cap: sdk.CapPacketsRead, Args: map[string][]string{"layers": {"udp"}, "snaplen": {"64"}}, Reason: "It judges packets."}}
	s.registry.Publish(t, registrytest.Plugin{ID: "picket/detector", Version: "1.0.0", Kind: sdk.KindDetector, Process: self, Permissions: grants})
	to, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	_, port, _ := net.SplitHostPort(to.LocalAddr().String())
	a := s.start(t.TempDir(), func(c *Config) {
		c.Captures = []Capture{{Config: packetsocket.Config{Interface: "lo", Filter: "udp port " + port, RingBytes: 16 << 20}}}
	})
	s.until("the worker", func() bool { return a.captureFigures()[0].Run != "" })
	asked := func() int { // packets that the worker was asked for
		a.detections[0].mu.Lock()
		defer a.detections[0].mu.Unlock()
		if a.detections[0].run == nil {
			return -1
		}
		return len(a.detections[0].wanted.Packets)
	}
	s.assign(pluginhost.Assignment{Instance: "picket/detector@agent-1", Plugin: "picket/detector", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess, Grants: grants})
	s.until("a worker that gives packets", func() bool { return asked() == 1 })
	from, err := net.Dial("udp4", to.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	const sent = 100
	for range sent {
		if _, err := from.Write([]byte("picket")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.until("a finding for each packet", func() bool { list, _ := s.found("packet"); return len(list) == sent })
	s.mu.Lock()
	list, took := s.found("packet")
	s.mu.Unlock()
	slices.Sort(took)
	t.Logf("from the packet to the server: median %s, p95 %s", took[len(took)/2], took[len(took)*95/100])
	if list[0].Detector != "picket/detector" || list[0].ID == "" || list[0].Packets[0] != 1 {
		t.Errorf("%+v", list[0])
	}
	figures := a.detections[0].figures()
	if len(figures) != 1 || figures[0].Instance != "picket/detector@agent-1" || figures[0].Missed != 0 || figures[0].Shown < sent || figures[0].Findings < sent {
		t.Errorf("%+v", figures)
	}
	s.assign() // which changes what the worker is asked for, so that the flow is closed
	s.until("a worker that gives no packets", func() bool { return asked() == 0 })
	if f := a.captureFigures()[0]; f.Restarts != 0 || f.LostFlows != 0 || f.Flows != 1 {
		t.Errorf("%+v", f)
	}
	a.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.forged) != 0 {
		t.Errorf("requests that were refused: %v", s.forged)
	}
	ids := map[string]bool{}
	for _, f := range list {
		ids[f.ID] = true
	}
	if len(ids) != sent {
		t.Errorf("%d ids for %d findings", len(ids), sent)
	}
}

// TestEachInterfaceIsJudged captures twice: each is judged by a process of its own, of which the server hears as one instance.
func TestEachInterfaceIsJudged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("to capture needs root")
	}
	buildTraffic(t)
	s := newSite(t)
	self, err := programs.Read()
	if err != nil {
		t.Fatal(err)
	}
	grants := []sdk.Permission{{Cap: sdk.CapPacketsRead, Args: map[string][]string{"layers": {"udp"}, "snaplen": {"64"}}, Reason: "It judges packets."}}
	s.registry.Publish(t, registrytest.Plugin{ID: "picket/detector", Version: "1.0.0", Kind: sdk.KindDetector, Process: self, Permissions: grants})
	var from []net.Conn
	var captures []Capture
	for range 2 {
		to, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		c, err := net.Dial("udp4", to.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, port, _ := net.SplitHostPort(to.LocalAddr().String())
		from, captures = append(from, c), append(captures, Capture{Config: packetsocket.Config{Interface: "lo", Filter: "udp port " + port, RingBytes: 16 << 20}})
	}
	a := s.start(t.TempDir(), func(c *Config) { c.Captures = captures })
	s.assign(pluginhost.Assignment{Instance: "d", Plugin: "picket/detector", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess, Grants: grants})
	for i := range captures {
		s.until("a worker that gives packets", func() bool {
			d := a.detections[i]
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.run != nil && len(d.wanted.Packets) == 1
		})
	}
	for i, c := range from {
		for range i + 1 { // one of the first, two of the second
			if _, err := c.Write([]byte("picket")); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.until("a finding for each packet", func() bool { list, _ := s.found("packet"); return len(list) == 3 })
	figures := a.detectionFigures()
	if len(figures) != 2 || figures[0].Instance != "d" || figures[0].Findings != 1 || figures[1].Instance != "d//lo" || figures[1].Findings != 2 {
		t.Errorf("%+v", figures)
	}
	st := a.Status()
	if len(st.Plugins) != 1 || st.Plugins[0].Instance != "d" || st.Plugins[0].State != pluginhost.Ready {
		t.Errorf("%+v", st.Plugins)
	}
	runs := map[string]bool{}
	for i := range captures {
		runs[a.captureFigures()[i].Run] = true
	}
	a.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.batches {
		if len(b.Found.Findings) > 0 && !runs[b.Found.Run] {
			t.Errorf("a finding of the run %q", b.Found.Run)
		}
	}
}
