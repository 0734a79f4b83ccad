package traffic

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/packetsocket/paced"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// BenchmarkLive finds the highest rate at which no packet is lost on a veth, and how fast the same worker reads the same
// packets from a file: PICKET_BENCH_PCAP, classic pcap of Ethernet. Both workers are confined, what they say is counted and
// thrown away: flows alone, and all that an agent with detectors asks for.
func BenchmarkLive(b *testing.B) {
	file := os.Getenv("PICKET_BENCH_PCAP")
	if file == "" || os.Geteuid() != 0 {
		b.Skip("needs root and PICKET_BENCH_PCAP")
	}
	frames, err := paced.Load(file, 256<<20)
	if err != nil {
		b.Fatal(err)
	}
	dir := programs(b)
	all := Wanted{Facts: sdk.FactKinds, Features: true}
	for _, c := range []struct {
		name   string
		wanted Wanted
	}{{"flows", Wanted{}}, {"all", all}} {
		b.Run(c.name+"/offline", func(b *testing.B) {
			for b.Loop() {
				began, cpu := time.Now(), childrenCPU()
				n := offline(b, dir, file, c.wanted)
				b.ReportMetric(float64(n)/time.Since(began).Seconds(), "packets/s")
				b.ReportMetric(float64(childrenCPU()-cpu)/float64(n), "cpu-ns/packet")
			}
		})
		b.Run(c.name+"/drop-free", func(b *testing.B) {
			for b.Loop() {
				cpu := childrenCPU()
				rate, bound, n := dropFree(b, dir, frames, c.wanted)
				b.ReportMetric(rate, "packets/s")
				b.ReportMetric(bound, "sender-bound") // 1: the sender could not send more
				b.ReportMetric(float64(childrenCPU()-cpu)/float64(n), "cpu-ns/packet")
			}
		})
	}
}

// childrenCPU is what the workers used that have ended.
func childrenCPU() time.Duration {
	var used unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_CHILDREN, &used)
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// offline lets a worker read the file and returns how many packets it has.
func offline(b *testing.B, dir, file string, wanted Wanted) uint64 {
	b.Helper()
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := startWorker(b.Context(), Command(dir, wanted.Args()), f)
	if err != nil {
		b.Fatal(err)
	}
	in := newMessages(w.out, time.Minute)
	for {
		m, err := in.next()
		if err != nil || m.kind == msgError {
			b.Fatalf("%v %s", err, m.body)
		}
		if m.kind != msgDone {
			continue
		}
		var done doneMessage
		if err := decode(m.body, &done); err != nil {
			b.Fatal(err)
		}
		_ = w.wait()
		return done.Packets
	}
}

// nowhere counts rows.
type nowhere struct {
	rows   int
	wanted Wanted
}

func (n *nowhere) Flows(_ context.Context, flows records.Parcel) error {
	n.rows += records.Count(flows.Frame)
	return nil
}
func (*nowhere) Facts(context.Context, string, records.Parcel) error { return nil }
func (*nowhere) Packets(context.Context, int, []byte) error          { return nil }
func (n *nowhere) Wanted() Wanted                                    { return n.wanted }
func (*nowhere) Close(context.Context, bool) error                   { return nil }

const stepTime = 2 * time.Second

// senderTries is how often a step is tried in which the sender did not reach its rate: something else ran on its processor.
const senderTries = 3

// dropFree sends faster and faster until packets are lost or it cannot send faster, then looks between the last two rates.
func dropFree(b *testing.B, dir string, frames [][]byte, wanted Wanted) (rate, bound float64, read uint64) {
	b.Helper()
	i := newCable(b)
	live, err := NewLive(LiveConfig{Programs: dir, Open: i.open, Socket: packetsocket.Config{Interface: "eth0", Promiscuous: true},
		Record: func(context.Context, Run) (LiveRecorder, error) { return &nowhere{wanted: wanted}, nil }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { live.Run(ctx); close(done) }()
	defer func() {
		cancel()
		<-done
		read = live.Figures().Packets
	}()
	until(b, "a worker", func() bool { return live.Figures().Run != "" })

	good, bad := 0.0, 0.0
	for step, short := 0, 0; step < 20 && (bad == 0 || bad > good*1.05); step++ {
		want := 100_000.0
		switch {
		case bad != 0:
			want = (good + bad) / 2
		case good != 0:
			want = good * 1.4
		}
		reached, lost := i.step(b, live, frames, want)
		b.Logf("%.0f packets/s wanted, %.0f sent, %d lost", want, reached, lost)
		switch {
		case lost > 0:
			bad = max(good, reached)
		case reached < 0.93*want:
			good = max(good, reached)
			if short++; short == senderTries {
				return good, 1, 0
			}
		default:
			good, short = max(good, reached), 0
		}
	}
	return good, 0, 0
}

// cable is a pair of interfaces, packets that go in at peer0 of one come out of eth0.
type cable struct{ island }

func newCable(b *testing.B) *cable {
	b.Helper()
	i := &cable{island{ns: fmt.Sprintf("pkl%d-bench", os.Getpid())}}
	for _, args := range [][]string{{"netns", "add", i.ns}, {"-n", i.ns, "link", "add", "eth0", "mtu", "65535", "type", "veth", "peer", "name", "peer0", "mtu", "65535"},
		{"netns", "exec", i.ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"},
		{"-n", i.ns, "link", "set", "eth0", "up"}, {"-n", i.ns, "link", "set", "peer0", "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			b.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	b.Cleanup(func() { _ = exec.Command("ip", "netns", "del", i.ns).Run() })
	time.Sleep(time.Second) // until the carrier is there
	return i
}

// step sends at a rate and returns the rate that it reached and the packets that the reader lost.
func (i *cable) step(b *testing.B, live *Live, frames [][]byte, rate float64) (reached float64, lost uint64) {
	b.Helper()
	before := live.Figures()
	var sent int
	var took time.Duration
	err := i.in(func() (err error) {
		sent, took, err = (&paced.Sender{Interface: "peer0", Frames: frames}).Send(rate, stepTime)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	until(b, "the packets", func() bool {
		f := live.Figures()
		return f.Received-before.Received >= uint64(sent) && f.Packets+f.Dropped >= f.Received
	})
	return float64(sent) / took.Seconds(), live.Figures().Dropped - before.Dropped
}
