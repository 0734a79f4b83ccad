package traffic

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// island is a network namespace with a loopback interface that packets can be sent over.
type island struct {
	t  testing.TB
	ns string
}

func newIsland(t *testing.T) *island {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a network of its own needs root")
	}
	i := &island{t: t, ns: fmt.Sprintf("pkl%d-live", os.Getpid())}
	for _, args := range [][]string{{"netns", "add", i.ns}, {"-n", i.ns, "link", "add", "dummy0", "type", "veth", "peer", "name", "peer0"},
		{"-n", i.ns, "link", "set", "lo", "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", i.ns).Run() })
	return i
}

// in runs work within the namespace, on a thread that ends with it.
func (i *island) in(work func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		f, err := os.Open("/var/run/netns/" + i.ns)
		if err == nil {
			defer f.Close()
			err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = work()
		}
		done <- err
	}()
	return <-done
}

func (i *island) open(cfg packetsocket.Config) (s *packetsocket.Socket, err error) {
	err = i.in(func() error {
		s, err = packetsocket.Open(cfg)
		return err
	})
	return s, err
}

// send sends a datagram to each of n ports from first on.
func (i *island) send(first, n int) {
	i.t.Helper()
	err := i.in(func() error {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4999})
		if err != nil {
			return err
		}
		defer c.Close()
		for port := first; port < first+n; port++ {
			// Nobody listens: what comes back of that is another flow, which the filter leaves out.
			if _, err := c.WriteToUDP([]byte("picket"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		i.t.Fatal(err)
	}
}

// book is a recorder of all runs.
type book struct {
	mu     sync.Mutex
	ports  map[uint16]int
	runs   []string
	closed []bool // complete or not

	wanted  Wanted
	packets int
}

func (b *book) open(_ context.Context, r Run) (LiveRecorder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.runs = append(b.runs, r.ID)
	return b, nil
}

func (b *book) Flows(_ context.Context, p records.Parcel) error {
	flows, err := records.DecodeFlows(p.Frame, nil)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range flows {
		b.ports[f.DstPort]++
	}
	return err
}

func (b *book) Facts(context.Context, string, records.Parcel) error { return nil }

func (b *book) Wanted() Wanted {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wanted
}

func (b *book) Packets(_ context.Context, subscription int, frame []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packets += records.Count(frame)
	return nil
}

func (b *book) Close(_ context.Context, complete bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, complete)
	return nil
}

// programs builds the worker and what confines it.
func programs(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for _, name := range []string{"picket-launch", "picket-traffic"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/picketwatch/picket/cmd/"+name)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			tb.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

// liveWorker is the process that reads now.
func liveWorker(t *testing.T) int {
	t.Helper()
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, file := range tasks {
		children, _ := os.ReadFile(file)
		for pid := range strings.FieldsSeq(string(children)) {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			if strings.Contains(string(line), "--live-fd") {
				n, _ := strconv.Atoi(pid)
				return n
			}
		}
	}
	return 0
}

func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("waited for %s", what)
		}
	}
}

// TestAKilledLiveWorkerIsBack kills the confined worker: what comes after is all recorded, what it had seen is told as lost.
func TestAKilledLiveWorkerIsBack(t *testing.T) {
	i, b := newIsland(t), &book{ports: map[uint16]int{}}
	live, err := NewLive(LiveConfig{Programs: programs(t), Open: i.open, Record: b.open,
		Socket: packetsocket.Config{Interface: "lo", Filter: "udp and src port 4999"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { live.Run(ctx); close(done) }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%+v", live.Figures())
		}
	})
	until(t, "a worker", func() bool { return live.Figures().Run != "" })

	const each = 200
	i.send(10_000, each)
	until(t, "the first packets", func() bool { return live.Figures().Packets == each && live.Figures().Open == each })
	first := liveWorker(t)
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	i.send(20_000, each) // perhaps before the next one is there
	until(t, "the next worker", func() bool { return live.Figures().Packets == 2*each })
	i.send(30_000, each)
	until(t, "the last packets", func() bool { return live.Figures().Packets == 3*each })
	if second := liveWorker(t); second == first || second == 0 {
		t.Errorf("the worker is %d, it was %d", second, first)
	}
	until(t, "the kernel's counts", func() bool { return live.Figures().Received == 3*each })
	cancel()
	<-done

	f := live.Figures()
	if f.Restarts != 1 || f.LostFlows != each || f.Flows != 2*each || f.Dropped != 0 || f.Problem != "" || f.Open != 0 {
		t.Errorf("%+v", f)
	}
	for _, from := range []uint16{20_000, 30_000} {
		for port := from; port < from+each; port++ {
			if b.ports[port] != 1 {
				t.Fatalf("the flow to port %d was recorded %d times", port, b.ports[port])
			}
		}
	}
	if len(b.runs) != 2 || b.runs[0] == b.runs[1] || len(b.closed) != 2 || b.closed[0] || !b.closed[1] {
		t.Errorf("runs %v, complete %v", b.runs, b.closed)
	}
}

// TestALiveCaptureIsRenewed asks for packets while a capture goes on: no flow is lost, and the next worker gives them.
func TestALiveCaptureIsRenewed(t *testing.T) {
	i, b := newIsland(t), &book{ports: map[uint16]int{}}
	live, err := NewLive(LiveConfig{Programs: programs(t), Open: i.open, Record: b.open,
		Socket: packetsocket.Config{Interface: "lo", Filter: "udp and src port 4999"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { live.Run(ctx); close(done) }()
	until(t, "a worker", func() bool { return live.Figures().Run != "" })
	const each = 100
	i.send(10_000, each)
	until(t, "the first packets", func() bool { return live.Figures().Packets == each && live.Figures().Open == each })
	b.mu.Lock()
	first := len(b.runs)
	b.wanted = Wanted{Packets: []sdk.PacketSubscription{{Layers: []string{"udp"}, SnapLen: 64}}}
	b.mu.Unlock()
	live.Renew()
	until(t, "the next worker", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.runs) == first+1 })
	i.send(20_000, each)
	until(t, "the packets", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.packets == each })
	until(t, "the flows", func() bool { return live.Figures().Open == each })
	cancel()
	<-done
	f := live.Figures()
	if f.Restarts != 0 || f.LostFlows != 0 || f.Flows != 2*each || f.Packets != 2*each || len(b.closed) != 2 || !b.closed[0] || !b.closed[1] {
		t.Errorf("%+v, complete %v", f, b.closed)
	}
}

// TestAnInterfaceThatComesAndGoes is captured when it is there.
func TestAnInterfaceThatComesAndGoes(t *testing.T) {
	i, b := newIsland(t), &book{ports: map[uint16]int{}}
	live, err := NewLive(LiveConfig{Programs: programs(t), Open: i.open, Record: b.open, Socket: packetsocket.Config{Interface: "dummy0"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { live.Run(ctx); close(done) }()
	until(t, "a worker", func() bool { return live.Figures().Run != "" })
	ip := func(args ...string) {
		if out, err := exec.Command("ip", append([]string{"-n", i.ns, "link"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	before := live.Figures().Run
	ip("del", "dummy0")
	until(t, "the problem", func() bool { return strings.Contains(live.Figures().Problem, "no such interface") })
	ip("add", "dummy0", "type", "veth", "peer", "name", "peer0")
	until(t, "the interface", func() bool { f := live.Figures(); return f.Problem == "" && f.Run != before })
	cancel()
	<-done
}

func TestALiveCaptureIsChecked(t *testing.T) {
	if _, err := NewLive(LiveConfig{Socket: packetsocket.Config{Interface: "lo", Filter: "host example.org"}}); err == nil {
		t.Error("a filter that cannot be was taken")
	}
	_, err := packetsocket.Open(packetsocket.Config{Interface: "lo"})
	if os.Geteuid() != 0 && (err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW")) {
		t.Errorf("without the capability: %v", err)
	}
}

// What a worker kept is there when it was killed, and until two others came after it.
func TestPacketsOutliveTheirWorker(t *testing.T) {
	i, b := newIsland(t), &book{ports: map[uint16]int{}}
	live, err := NewLive(LiveConfig{Programs: programs(t), Open: i.open, Record: b.open, Keep: MinKeep,
		Socket: packetsocket.Config{Interface: "lo", Filter: "udp and src port 4999"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() { live.Run(ctx); close(done) }()
	until(t, "a worker", func() bool { return live.Figures().Run != "" })
	const each = 100
	i.send(10_000, each)
	until(t, "the packets", func() bool { return live.Figures().Packets == each && live.Figures().Open == each })
	time.Sleep(300 * time.Millisecond) // and for the worker to show what it keeps, which it does ten times a second
	run := live.Figures().Run
	wanted := carved.Evidence{Flows: []uint64{1, 2}, Numbers: []uint64{50, 9999}}
	check := func(when string) {
		t.Helper()
		k, file, err := live.Kept(t.Context(), run, wanted)
		if err != nil || len(k.Packets) != 3 || k.Matched != 3 || k.Missing != 1 || k.Packets[0].Flow != 1 || k.Packets[2].Number != 50 || len(file) < 3*16+24 {
			t.Errorf("%s: %+v, %d bytes, %v", when, k, len(file), err)
		}
	}
	check("while the worker reads")
	if err := unix.Kill(liveWorker(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the next worker", func() bool { r := live.Figures().Run; return r != "" && r != run })
	check("after its end")
	if _, _, err := live.Kept(t.Context(), "another", wanted); !errors.Is(err, ErrGone) {
		t.Errorf("of a run that never was: %v", err)
	}
	second := live.Figures().Run
	until(t, "the next worker to listen", func() bool { return liveWorker(t) != 0 })
	if err := unix.Kill(liveWorker(t), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "the worker after it", func() bool { r := live.Figures().Run; return r != "" && r != second })
	if _, _, err := live.Kept(t.Context(), run, wanted); !errors.Is(err, ErrGone) {
		t.Errorf("two workers later: %v", err)
	}
	cancel()
	<-done
	live.Forget()
}
