package e2e

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	pcap "github.com/picketwatch/picket/internal/traffic/capture"
)

// liveAlert is an alert of an agent with what it rests on.
type liveAlert struct {
	ID, Src, Dst, Rule string
	Findings           []struct{ ID string }
	Evidence           []struct {
		Agent, Run, Interface string
		Flows                 []struct {
			ID           uint64
			Src, Dst     string
			Capture      string
			Community_id string
		}
		Kept []struct {
			Finding, Why                     string
			Packets, Bytes, Matched, Missing int
		}
	}
}

// alert is the newest one of a rule, which may have to come.
func (l *liveSite) alert(rule, from string) (a liveAlert) {
	l.t.Helper()
	waitFor(l.t, "the alert of "+rule, func() bool {
		var list struct {
			Items []struct {
				ID, Agent, Src, Rule string
			}
		}
		l.server.ask(&list, "/api/v1/alerts?"+url.Values{"detector": {"picket/portscan"}, "state": {"firing"}}.Encode(), "")
		for _, x := range list.Items {
			if x.Agent == l.agentID && x.Rule == rule && x.Src == from {
				l.server.ask(&a, "/api/v1/alerts/"+x.ID, "")
				return true
			}
		}
		return false
	})
	return a
}

// kept is the alert once the server has packets of it, or knows why there are none.
func (l *liveSite) kept(id string) (a liveAlert) {
	l.t.Helper()
	waitFor(l.t, "the packets of the alert", func() bool {
		a = liveAlert{}
		l.server.ask(&a, "/api/v1/alerts/"+id, "")
		return len(a.Evidence) > 0 && len(a.Evidence[0].Kept) > 0
	})
	return a
}

// packetsOf are the bytes of packets of a file.
func packetsOf(t *testing.T, data []byte) (list []string) {
	t.Helper()
	r, err := pcap.Open(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var p pcap.Packet
	for {
		err := r.Next(&p)
		if errors.Is(err, io.EOF) || errors.As(err, new(*pcap.DamagedError)) { // tcpdump may be writing
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, string(p.Data))
	}
}

// decoded are all packets that were kept for a finding, page by page.
func (l *liveSite) decoded(alert, finding, filter string) (list []string) {
	l.t.Helper()
	for after := uint64(0); ; {
		var page struct {
			Items []struct {
				Number uint64
				Hex    string
				Flow   uint64
			}
			Next uint64
		}
		l.server.ask(&page, fmt.Sprintf("/api/v1/alerts/%s/findings/%s/packets?limit=30&after=%d%s", alert, finding, after, filter), "")
		for _, p := range page.Items {
			b, err := hex.DecodeString(p.Hex)
			if err != nil {
				l.t.Fatal(err)
			}
			list = append(list, string(b))
		}
		if page.Next == 0 {
			return list
		}
		after = page.Next
	}
}

// A scan over a cable becomes an alert that opens its flows, and its packets, which are those that tcpdump saw. Neither the end of
// worker, agent and server in between loses what was acknowledged. An agent whose owner keeps no packets sends none.
func TestTheEvidenceOfALiveAlert(t *testing.T) {
	l := newLiveSite(t, "{interface: eth0, filter: tcp and host "+scanner+"}")
	waitFor(t, "a capture", func() bool { return l.capture().Run != "" })
	l.server.curl("/api/v1/plugins/picket/portscan/enable", `{"node":"`+l.agentID+`","grants":"all"}`)
	waitFor(t, "the detector on the agent", func() bool { return strings.HasSuffix(l.server.running("picket/portscan")["watch"], " ready") })
	waitFor(t, "the detector to be shown flows", func() bool { return l.judged() })
	dump := filepath.Join(l.watch.dir, "tcpdump.pcap")
	tcpdump := start(t, "ip", "netns", "exec", l.watch.ns, "tcpdump", "-i", "eth0", "-U", "-Z", "root", "-w", dump, "tcp and host "+scanner)
	waitFor(t, "tcpdump", func() bool { info, err := os.Stat(dump); return err == nil && info.Size() >= 24 })
	time.Sleep(300 * time.Millisecond)

	l.probe(20000, 60)
	a := l.kept(l.alert("vertical", l.scan.address).ID)
	if len(a.Evidence) != 1 {
		t.Fatalf("%+v", a)
	}
	e := a.Evidence[0]
	k := e.Kept[0]
	if e.Agent != l.agentID || e.Run == "" || e.Interface != "eth0" || k.Why != "" || k.Packets == 0 || k.Matched < k.Packets || k.Missing != 0 {
		t.Fatalf("%+v", e)
	}
	waitFor(t, "the flows of the alert", func() bool {
		l.server.ask(&a, "/api/v1/alerts/"+a.ID, "")
		return !slices.ContainsFunc(a.Evidence[0].Flows, func(f struct {
			ID           uint64
			Src, Dst     string
			Capture      string
			Community_id string
		}) bool {
			return f.Capture == ""
		})
	})
	flow := a.Evidence[0].Flows[0]
	var detail struct {
		CommunityID string `json:"community_id"`
		Packets     int
		Features    []struct{ Name string }
	}
	l.server.ask(&detail, fmt.Sprintf("/api/v1/flows/%s/%d", flow.Capture, flow.ID), "")
	if detail.CommunityID != flow.Community_id || len(detail.Features) == 0 {
		t.Errorf("the flow is %+v, the alert says %+v", detail, flow)
	}
	if err := tcpdump.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = tcpdump.cmd.Wait() // it was interrupted; what it wrote is read
	data, err := os.ReadFile(dump)
	if err != nil {
		t.Fatal(err)
	}
	saw := packetsOf(t, data)
	finding := k.Finding
	got := l.decoded(a.ID, finding, "")
	if len(got) != k.Packets {
		t.Errorf("%d packets are shown, %d were kept", len(got), k.Packets)
	}
	for _, p := range got {
		if !slices.Contains(saw, p) {
			t.Fatalf("a packet that tcpdump did not see: %x", p)
		}
	}
	// Of one flow all of them, in their order.
	port := flow.Dst[strings.LastIndex(flow.Dst, ":")+1:]
	var of []string
	for _, p := range saw {
		if ports := fmt.Sprintf("%d %d", int(p[34])<<8|int(p[35]), int(p[36])<<8|int(p[37])); strings.Contains(" "+ports+" ", " "+port+" ") {
			of = append(of, p)
		}
	}
	if one := l.decoded(a.ID, finding, fmt.Sprintf("&flow=%d", flow.ID)); len(one) != detail.Packets || !slices.Equal(one, of) {
		t.Errorf("%d packets of the flow to port %s were kept, it has %d, tcpdump saw %d", len(one), port, detail.Packets, len(of))
	}
	file := l.server.curl("/api/v1/alerts/"+a.ID+"/findings/"+finding+"/pcap", "")
	if list := packetsOf(t, []byte(file)); !slices.Equal(list, got) {
		t.Errorf("the file has %d packets", len(list))
	}
	for _, path := range []string{"/api/v1/alerts/nope/findings/" + finding + "/packets", "/api/v1/alerts/" + a.ID + "/findings/nope/pcap"} {
		if out, err := l.server.here("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Authorization: Bearer "+l.token(), l.server.url()+path).Output(); err != nil || string(out) != "404" {
			t.Errorf("%s: %s, %v", path, out, err)
		}
	}
	if says := l.server.run("replay", "--dev", "--data", filepath.Join(l.server.dir, "data"), a.ID); !strings.Contains(says, "among them") || strings.Contains(says, "not among") {
		t.Errorf("picket replay says %s", says)
	}

	// Server and agent are killed. What the server has acknowledged is there; what the agent finds while it is away comes later.
	l.server.curl("/api/v1/alerts/"+a.ID+"/resolve", "{}")
	l.server.server.kill9()
	l.agent.kill9()
	l.agent = l.watch.start("picket-agent", "--config", filepath.Join(l.watch.dir, "agent.yaml"), "--data", filepath.Join(l.watch.dir, "data"))
	waitFor(t, "the detector to be shown flows again", func() bool { return l.judged() })
	waitFor(t, "a capture", func() bool { return l.capture().Run != "" })
	l.probe(40000, 60)
	waitFor(t, "the packets to be queued", func() bool { return l.evidenceSent() > 0 })
	l.server.server = l.server.start("picketd", "--dev", "--data", filepath.Join(l.server.dir, "data"), "--listen", l.server.address+":8080")
	waitFor(t, "picketd", func() bool { return l.server.fleet(nil, "list") == nil })
	if list := packetsOf(t, []byte(l.server.curl("/api/v1/alerts/"+a.ID+"/findings/"+finding+"/pcap", ""))); !slices.Equal(list, got) {
		t.Errorf("after the end of the server %d packets are left of %d", len(list), len(got))
	}
	again := l.kept(l.alert("vertical", l.scan.address).ID)
	if k := again.Evidence[0].Kept[0]; k.Why != "" || k.Packets == 0 || again.ID == a.ID {
		t.Errorf("of what was found while the server was away: %+v", again.Evidence[0].Kept)
	}
}

// evidenceSent is for how many findings the agent has queued packets.
func (l *liveSite) evidenceSent() int {
	var st struct{ Evidence struct{ Findings int } }
	out, err := l.watch.here(filepath.Join(l.programs, "picket-agent"), "status", "--json", "--data", filepath.Join(l.watch.dir, "data")).Output()
	if err != nil || json.Unmarshal(out, &st) != nil {
		return 0
	}
	return st.Evidence.Findings
}

func (l *liveSite) token() string {
	l.t.Helper()
	text, err := os.ReadFile(l.server.token)
	if err != nil {
		l.t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// TestAnOwnerWhoKeepsNoPackets says so in the agent's own file: the alert tells why there are none.
func TestAnOwnerWhoKeepsNoPackets(t *testing.T) {
	l := newLiveSite(t, "{interface: eth0, keep: 0, filter: tcp and host "+scanner+"}")
	waitFor(t, "a capture", func() bool { return l.capture().Run != "" })
	l.server.curl("/api/v1/plugins/picket/portscan/enable", `{"node":"`+l.agentID+`","grants":"all"}`)
	waitFor(t, "the detector to be shown flows", func() bool { return l.judged() })
	l.probe(20000, 60)
	a := l.kept(l.alert("vertical", l.scan.address).ID)
	if k := a.Evidence[0].Kept; len(k) != 1 || k[0].Why != "off" || k[0].Packets != 0 {
		t.Errorf("%+v", k)
	}
}
