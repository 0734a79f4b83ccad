package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scanner is the address of the machine that scans.
const scanner = "10.77.8.3"

// liveSite is a picketd, an agent that captures what passes at its machine and judges it, and a machine that scans that one.
type liveSite struct {
	*site
	server  *shop
	watch   *machine
	scan    *machine
	agent   *program
	agentID string
}

func newLiveSite(t *testing.T, captures ...string) *liveSite {
	t.Helper()
	s := newSite(t)
	l := &liveSite{site: s, server: &shop{machine: s.machine("srv", "10.77.8.1")}, watch: s.machine("wat", "10.77.8.2"), scan: s.machine("scn", scanner)}
	data := filepath.Join(l.server.dir, "data")
	l.server.server = l.server.start("picketd", "--dev", "--data", data, "--listen", l.server.address+":8080")
	waitFor(t, "picketd", func() bool {
		if l.server.token == "" {
			if out, err := l.server.picket("token", "create", "--data", data, "--role", "ADM", "--name", "test"); err == nil {
				l.server.token = l.server.file("token", out)
			}
			return false
		}
		return l.server.fleet(nil, "list") == nil
	})
	var made struct{ Token string }
	l.server.ask(&made, "/api/v1/agents/tokens", `{"name":"watch"}`)
	settings := l.watch.file("agent.yaml", "insecure_http: true\ncapture:\n  - "+strings.Join(captures, "\n  - ")+"\n")
	l.agent = l.watch.start("picket-agent", "--config", settings, "--server", l.server.url(), "--data", filepath.Join(l.watch.dir, "data"),
		"--token-file", l.watch.file("token", made.Token))
	waitFor(t, "the agent", func() bool {
		var list struct{ Items []struct{ ID, Name string } }
		l.server.ask(&list, "/api/v1/agents", "")
		for _, a := range list.Items {
			if a.Name == "watch" {
				l.agentID = a.ID
			}
		}
		return l.agentID != ""
	})
	return l
}

// ask decodes what the API answers.
func (x *shop) ask(into any, path, body string) {
	x.t.Helper()
	if err := json.Unmarshal([]byte(x.curl(path, body)), into); err != nil {
		x.t.Fatalf("%s: %v", path, err)
	}
}

type liveFlow struct {
	Capture, Name, App string
	DstPort            int `json:"dst_port"`
}

// flows are those of the scanner, by the port that it asked for.
func (l *liveSite) flows() map[int][]liveFlow {
	l.t.Helper()
	var page struct{ Items []liveFlow }
	l.server.ask(&page, "/api/v1/flows?"+url.Values{"src": {l.scan.address}, "limit": {"500"}}.Encode(), "")
	out := map[int][]liveFlow{}
	for _, f := range page.Items {
		out[f.DstPort] = append(out[f.DstPort], f)
	}
	return out
}

// once reports whether all ports of a range have one flow each.
func once(flows map[int][]liveFlow, first, n int) bool {
	for port := first; port < first+n; port++ {
		if len(flows[port]) != 1 {
			return false
		}
	}
	return true
}

// probe asks for n ports of the watched machine, which are closed.
func (l *liveSite) probe(first, n int) {
	l.t.Helper()
	script := fmt.Sprintf("for p in $(seq %d %d); do (exec 3<>/dev/tcp/%s/$p) 2>/dev/null; done; true", first, first+n-1, l.watch.address)
	if out, err := l.scan.here("bash", "-c", script).CombinedOutput(); err != nil {
		l.t.Fatalf("%v: %s", err, out)
	}
}

// capture is how the agent's capture goes, as the agent says.
func (l *liveSite) capture() (c struct {
	Run       string
	Received  int
	Packets   int
	Flows     int
	Open      int
	Restarts  int
	Dropped   int
	LostFlows int `json:"lost_flows"`
}) {
	l.t.Helper()
	out, err := l.watch.here(filepath.Join(l.programs, "picket-agent"), "status", "--json", "--data", filepath.Join(l.watch.dir, "data")).Output()
	if err != nil {
		return c // not yet
	}
	st := struct{ Captures []json.RawMessage }{}
	if err := json.Unmarshal(out, &st); err != nil || len(st.Captures) != 1 {
		l.t.Fatalf("%v in %s", err, out)
	}
	if err := json.Unmarshal(st.Captures[0], &c); err != nil {
		l.t.Fatal(err)
	}
	return c
}

// worker is the process that parses the agent's packets.
func (l *liveSite) worker() (pid int) {
	for _, p := range descendants(l.agent.cmd.Process.Pid) {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p)); strings.Contains(string(line), "--live-fd") {
			pid = p
		}
	}
	return pid
}

// A scan over a cable: an agent sees it, a detector that was enabled there finds it, the server has the alert, which names the
// agent, and the flows and facts, each once. The worker is killed in the middle; what it lost is said, and no more is.
func TestFollowALiveFlow(t *testing.T) {
	l := newLiveSite(t, "{interface: eth0, filter: tcp and host "+scanner+"}")
	waitFor(t, "a capture", func() bool { return l.capture().Run != "" })
	l.server.curl("/api/v1/plugins/picket/portscan/enable", `{"node":"`+l.agentID+`","grants":"all"}`)
	waitFor(t, "the detector on the agent", func() bool { return strings.HasSuffix(l.server.running("picket/portscan")["watch"], " ready") })
	waitFor(t, "the detector to be shown flows", func() bool { return l.judged() })

	// A page that is there, and forty ports that are not.
	page := start(t, "ip", "netns", "exec", l.watch.ns, "python3", "-m", "http.server", "--directory", l.watch.dir, "8000")
	waitFor(t, "a page", func() bool { return l.scan.here("curl", "-sf", "http://"+l.watch.address+":8000/").Run() == nil })
	l.probe(20000, 40)
	waitFor(t, "the scan on the server", func() bool { return once(l.flows(), 20000, 40) })
	waitFor(t, "what was asked of the page", func() bool {
		var facts struct{ Items []struct{ Kind string } }
		l.server.ask(&facts, "/api/v1/facts?kind=http&host="+l.scan.address, "")
		return len(facts.Items) > 0
	})

	// The worker dies with a flow that is open.
	open := start(t, "ip", "netns", "exec", l.scan.ns, "bash", "-c", "exec 3<>/dev/tcp/"+l.watch.address+"/8000; sleep 60")
	waitFor(t, "a flow that is open", func() bool { return l.capture().Open == 1 })
	before, first := l.capture(), l.worker()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	l.probe(30000, 40) // perhaps before the next one is there
	waitFor(t, "another worker", func() bool { c := l.capture(); return c.Run != before.Run && c.Packets >= before.Packets+80 })
	if second := l.worker(); second == first || second == 0 {
		t.Errorf("the worker is %d, it was %d", second, first)
	}
	waitFor(t, "what came after the kill on the server", func() bool { return once(l.flows(), 30000, 40) })
	t.Logf("all of it is there %.1f s after the kill", time.Since(killed).Seconds())
	if c := l.capture(); c.Restarts != 1 || c.LostFlows != 1 || c.Dropped != 0 {
		t.Errorf("%+v, want one restart, one lost flow and no lost packet", c)
	}
	flows := l.flows()
	if !once(flows, 20000, 40) || len(flows[8000]) == 0 || flows[8000][0].App != "http" {
		t.Errorf("flows of port 8000: %+v; of the scan before: %d", flows[8000], len(flows[20000]))
	}
	open.kill9()
	page.kill9()

	// What the detector held when the worker died became a finding.
	var alerts struct {
		Items []struct{ Agent, Detector, Src, Dst, Rule string }
	}
	waitFor(t, "the alert", func() bool {
		l.server.ask(&alerts, "/api/v1/alerts?detector=picket/portscan", "")
		for _, a := range alerts.Items {
			if a.Agent == l.agentID && a.Src == l.scan.address {
				return a.Rule == "vertical" && a.Dst == l.watch.address
			}
		}
		return false
	})
}

// judged reports whether the agent shows its flows to the detector.
func (l *liveSite) judged() bool {
	out, err := l.watch.here(filepath.Join(l.programs, "picket-agent"), "status", "--json", "--data", filepath.Join(l.watch.dir, "data")).Output()
	return err == nil && strings.Contains(string(out), `"plugin":"picket/portscan","shown"`)
}
