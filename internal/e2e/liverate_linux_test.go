package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket/paced"
)

// In a step of the search, packets are sent for as long; and so often one is tried in which the sender did not reach its rate,
// because something else ran on its processor.
const (
	rateStep    = 5 * time.Second
	senderTries = 3
	rateRounds  = 3
)

// TestHowManyPacketsAreJudgedLive finds the highest rate at which an agent that runs the default detectors loses no packet and shows
// each detector everything, beside the rate at which the server analyses the same packets from a file with the same
// detectors, in turns: PICKET_BENCH_PCAP, classic pcap of Ethernet. Sender, agent and server share this machine.
func TestHowManyPacketsAreJudgedLive(t *testing.T) {
	file := os.Getenv("PICKET_BENCH_PCAP")
	if file == "" {
		t.Skip("needs PICKET_BENCH_PCAP")
	}
	l := newLiveSite(t, "{interface: bench0}")
	l.must("ip", "-n", l.watch.ns, "link", "add", "bench0", "mtu", "65535", "type", "veth", "peer", "name", "sender0", "mtu", "65535")
	l.must("ip", "netns", "exec", l.watch.ns, "sysctl", "-qw", "net.ipv6.conf.bench0.disable_ipv6=1", "net.ipv6.conf.sender0.disable_ipv6=1")
	l.must("ip", "-n", l.watch.ns, "link", "set", "bench0", "up")
	l.must("ip", "-n", l.watch.ns, "link", "set", "sender0", "up")
	waitFor(t, "a capture", func() bool { return l.capture().Run != "" })
	for _, plugin := range []string{"portscan", "beacon", "passive"} {
		l.server.curl("/api/v1/plugins/picket/"+plugin+"/enable", `{"node":"`+l.agentID+`","grants":"all"}`)
		waitFor(t, plugin+" on the agent", func() bool { return strings.HasSuffix(l.server.running("picket/" + plugin)["watch"], " ready") })
	}
	waitFor(t, "the detectors to be shown traffic", func() bool { return len(l.shown()) == 3 })
	frames, err := paced.Load(file, 256<<20)
	if err != nil {
		t.Fatal(err)
	}
	b := &liveRate{liveSite: l, sender: &paced.Sender{Interface: "sender0", Frames: frames}}
	b.send(20_000) // so that the first step is no detector's first
	var c capture
	token, err := os.ReadFile(l.server.token)
	if err != nil {
		t.Fatal(err)
	}
	said := l.must("ip", "netns", "exec", l.server.ns, "curl", "--silent", "--show-error", "--fail-with-body", "--data-binary", "@"+file,
		"-H", "Authorization: Bearer "+strings.TrimSpace(string(token)), "-H", "Content-Type: application/octet-stream", l.server.url()+"/api/v1/captures?name=bench.pcap")
	if err := json.Unmarshal([]byte(said), &c); err != nil {
		t.Fatal(err)
	}
	b.analysed(c.ID)
	for range rateRounds {
		l.server.curl("/api/v1/captures/"+c.ID+"/analyse", "{}")
		before := b.spent()
		offline := b.analysed(c.ID)
		each := b.spent().minus(before).each(float64(len(frames)))
		t.Logf("from a file %.0f packets/s, processor time of a packet: %s", offline, each)
		rate, bound := b.search()
		note := ""
		if bound {
			note = ", where the sender was the limit"
		}
		t.Logf("live without loss %.0f packets/s%s; from a file %.0f; %.2f times", rate, note, offline, rate/offline)
	}
}

// liveRate is a live site whose agent captures what sender sends.
type liveRate struct {
	*liveSite
	sender *paced.Sender
	each   string // processor time of a packet of the last step
}

// times are processor times by program.
type times map[string]time.Duration

// spent is what the programs of the agent and of the server used until now.
func (b *liveRate) spent() times {
	out := times{}
	for _, p := range []*program{b.agent, b.server.server} {
		for _, pid := range append(descendants(p.cmd.Process.Pid), p.cmd.Process.Pid) {
			name, used := processorTime(pid)
			out[name] += used
		}
	}
	return out
}

// processorTime is what a process used, and the children that it waited for.
func processorTime(pid int) (name string, used time.Duration) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0 // it is gone, and its parent's business
	}
	head, rest, _ := strings.Cut(string(stat), ") ")
	_, name, _ = strings.Cut(head, "(")
	const first, last, tick = 11, 14, 10 * time.Millisecond
	for i, field := range strings.Fields(rest) {
		if n, err := strconv.Atoi(field); err == nil && i >= first && i <= last {
			used += time.Duration(n) * tick
		}
	}
	return name, used
}

func (t times) minus(before times) times {
	out := times{}
	for name, v := range t {
		if v > before[name] {
			out[name] = v - before[name]
		}
	}
	return out
}

// each says how much that is for each of so many packets.
func (t times) each(packets float64) string {
	var parts []string
	var total time.Duration
	for _, name := range slices.Sorted(maps.Keys(t)) {
		total += t[name]
		parts = append(parts, fmt.Sprintf("%s %.0f", name, float64(t[name])/packets))
	}
	return fmt.Sprintf("%.0f ns (%s)", float64(total)/packets, strings.Join(parts, ", "))
}

// analysed waits for a capture and returns how many packets a second were analysed.
func (b *liveRate) analysed(id string) float64 {
	b.t.Helper()
	var c struct {
		capture
		Started, Finished time.Time
	}
	waitFor(b.t, "the analysis", func() bool {
		b.server.ask(&c, "/api/v1/captures/"+id, "")
		return c.State == "done" || c.State == "failed"
	})
	if c.State != "done" {
		b.t.Fatalf("%+v", c)
	}
	return float64(c.Packets) / c.Finished.Sub(c.Started).Seconds()
}

// search sends faster and faster until something is lost, or until it cannot send faster, then looks between the last two rates.
func (b *liveRate) search() (good float64, bound bool) {
	bad := 0.0
	for step, short := 0, 0; step < 16 && (bad == 0 || bad > good*1.08); step++ {
		want := 50_000.0
		switch {
		case bad != 0:
			want = (good + bad) / 2
		case good != 0:
			want = good * 1.5
		}
		reached, dropped, missed := b.send(want)
		b.t.Logf("%.0f packets/s wanted, %.0f sent, %d packets dropped, %d records not shown; of a packet %s", want, reached, dropped, missed, b.each)
		switch {
		case dropped+missed > 0:
			bad = max(good, reached)
		case reached < 0.93*want:
			good = max(good, reached)
			if short++; short == senderTries {
				return good, true
			}
		default:
			good, short = max(good, reached), 0
		}
	}
	return good, false
}

// send sends at a rate and returns the rate that it reached, what the kernel dropped and what detectors were not shown.
func (b *liveRate) send(rate float64) (reached float64, dropped, missed int) {
	b.t.Helper()
	before, missedBefore, spent := b.capture(), total(b.shown()), b.spent()
	var sent int
	var took time.Duration
	done := make(chan error)
	go func() { // on a thread that ends with the namespace
		runtime.LockOSThread()
		ns, err := os.Open(filepath.Join("/var/run/netns", b.watch.ns))
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			sent, took, err = b.sender.Send(rate, rateStep)
		}
		done <- err
	}()
	if err := <-done; err != nil {
		b.t.Fatal(err)
	}
	after := before
	waitFor(b.t, "the packets", func() bool {
		after = b.capture()
		return after.Received-before.Received >= sent && after.Packets+after.Dropped >= after.Received
	})
	if after.Restarts != 0 {
		b.t.Fatalf("%+v", after)
	}
	time.Sleep(2 * time.Second) // the detectors have more to look at
	b.each = b.spent().minus(spent).each(float64(sent))
	return float64(sent) / took.Seconds(), after.Dropped - before.Dropped, total(b.shown()) - missedBefore
}

// shown is how many records each detector and observer of the agent was not shown, by instance.
func (l *liveSite) shown() map[string]int {
	l.t.Helper()
	out, err := l.watch.here(filepath.Join(l.programs, "picket-agent"), "status", "--json", "--data", filepath.Join(l.watch.dir, "data")).Output()
	var st struct {
		Detections []struct {
			Instance string
			Missed   int
		}
	}
	if err != nil || json.Unmarshal(out, &st) != nil {
		return nil // not yet
	}
	missed := map[string]int{}
	for _, d := range st.Detections {
		missed[d.Instance] = d.Missed
	}
	return missed
}

func total(m map[string]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}
