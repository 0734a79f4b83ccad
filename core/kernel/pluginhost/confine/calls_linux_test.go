package confine

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// heard counts what a request is told.
type heard struct {
	mu    sync.Mutex // guards count
	count map[RefusedCall]int
}

func (h *heard) tell(c RefusedCall) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == nil {
		h.count = map[RefusedCall]int{}
	}
	h.count[c]++
}

// names are the calls that were told, with what they say.
func (h *heard) names() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := map[string]string{}
	for c := range h.count {
		out[c.Call] += c.What + "; "
	}
	return out
}

// TestLevelRefusedCalls: the host hears of each call that was refused, and of nothing else.
func TestLevelRefusedCalls(t *testing.T) {
	best(t)
	var h heard
	r := request(t, "")
	r.Refused = h.tell
	p := start(t, r, "ptrace:1", "fork", "exec:/bin/true", "execfd:/proc/self/exe", "memfd", "raw", "unshare", "iouring", "kill:4711", "tcp:127.0.0.1:9", "unix:/nowhere")
	if !p.report.CallsCounted {
		t.Fatalf("not counted: %+v", p.report)
	}
	all := p.results()
	got := h.names()
	for call, what := range map[string]string{
		"ptrace": "trace", "clone": "make a process", "execve": "run a program", "execveat": "run a program", "memfd_create": "in memory", "unshare": "namespaces",
		"io_uring_setup": "young", "kill": "signal", "connect": "connect", "socket": "packets",
	} {
		if !strings.Contains(got[call], what) {
			t.Errorf("%s: %q, want %q", call, got[call], what)
		}
	}
	if !strings.Contains(got["socket"], "the network") {
		t.Errorf("a socket of the network is not told from others: %q", got["socket"])
	}
	for try, res := range all {
		if res.OK {
			t.Errorf("%s succeeded", try)
		}
	}
	if len(got) != 10 {
		t.Errorf("more is told than was tried: %v", got)
	}
}

// Of an interpreter's process four calls are told nobody, and these must be just those that gRPC makes.
func TestProbesOfGRPC(t *testing.T) {
	call := func(number int32, args ...uint64) *notification {
		n := &notification{}
		n.data.number = number
		copy(n.data.args[:], args)
		return n
	}
	l := &listener{probes: grpcProbes}
	for name, other := range map[string]*notification{
		"another call":     call(unix.SYS_CONNECT, unix.AF_INET, unix.SOCK_STREAM),
		"datagrams":        call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_DGRAM),
		"Python's own":     call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC),
		"another protocol": call(unix.SYS_SOCKET, unix.AF_INET6, unix.SOCK_STREAM, unix.IPPROTO_SCTP),
		"another family":   call(unix.SYS_SOCKET, unix.AF_NETLINK, unix.SOCK_STREAM),
	} {
		if l.probe(other) {
			t.Errorf("%s is told nobody", name)
		}
	}
	for i := range grpcProbes {
		if !l.probe(call(unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.AF_INET6}[i%2], unix.SOCK_STREAM)) {
			t.Errorf("probe %d is told", i)
		}
	}
	if l.probe(call(unix.SYS_SOCKET, unix.AF_INET, unix.SOCK_STREAM)) {
		t.Error("one more is told nobody")
	}
}

// A program that does nothing wrong is told of nothing.
func TestLevelNothingRefused(t *testing.T) {
	best(t)
	var h heard
	r := request(t, "")
	r.Refused = h.tell
	start(t, r, "uid", "list:/", "threads:8", "memory:10", "env").results()
	if got := h.names(); len(got) > 0 {
		t.Errorf("told of %v", got)
	}
}

// Whoever makes refused calls without end waits for the answers, and each is answered and counted.
func TestLevelRefusedCallsWithoutEnd(t *testing.T) {
	best(t)
	var h heard
	r := request(t, "")
	r.Refused = h.tell
	const calls = 2 * callsBurst
	began := time.Now()
	p := start(t, r, "refused:2000")
	if got := only(t, p, "refused:2000"); !got.OK {
		t.Fatalf("%+v", got)
	} else {
		t.Logf("%d refused calls in %s, the longest %s", calls, time.Since(began).Round(time.Millisecond), got.Value)
	}
	must(t, p.plan.Close()) // nothing more is told from here on
	want := RefusedCall{"ptrace", launch.DeedOf("ptrace")}
	if len(h.count) != 1 || h.count[want] != calls {
		t.Errorf("%d calls were made, told is %v", calls, h.count)
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d calls were answered in %s: the host does whatever it is asked", calls, took)
	}
}

// Several processes that make refused calls without end share what the host does for them.
func TestLevelRefusedCallsOfMany(t *testing.T) {
	best(t)
	was := allCalls
	defer func() { allCalls = was }()
	allCalls = rate.NewLimiter(1000, 1)
	began := time.Now()
	var all []*process
	for range 2 { // each within what one may do at once
		all = append(all, start(t, request(t, ""), "refused:1000"))
	}
	for _, p := range all {
		if got := only(t, p, "refused:1000"); !got.OK {
			t.Errorf("%+v", got)
		}
	}
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("2000 calls were answered in %s: the host does whatever it is asked by several", took)
	}
}

// A filter of the plugin's own would take the host's place: it could let refused calls pass, or refuse them in silence.
func TestLevelOwnFilter(t *testing.T) {
	best(t)
	ways := []string{"filter:seccomp", "filter:listener", "filter:prctl"}
	for way, got := range start(t, request(t, LevelC), ways...).results() {
		if !got.OK {
			t.Errorf("unconfined it fails too, so the test shows nothing: %s: %+v", way, got)
		}
	}
	var h heard
	r := request(t, "")
	r.Refused = h.tell
	p := start(t, r, ways...)
	all := p.results()
	must(t, p.plan.Close())
	for _, way := range ways {
		if got := all[way]; got.OK || !strings.Contains(got.Error, "not permitted") {
			t.Errorf("%s: %+v", way, got)
		}
	}
	want := map[RefusedCall]int{{"seccomp", launch.OwnFilter}: 2, {"prctl", launch.OwnFilter}: 1}
	if !maps.Equal(h.count, want) {
		t.Errorf("told is %v, want %v", h.count, want)
	}
}

// TestLevelLostListener: a program whose listener did not arrive is not let through, for somebody else could listen then.
func TestLevelLostListener(t *testing.T) {
	best(t)
	for name, c := range map[string]struct {
		missing []string
		files   int // that come along
		want    string
	}{
		"none":            {nil, 0, "the listener of refused calls did not come"},
		"another excuse":  {[]string{"something else"}, 0, "the listener of refused calls did not come"},
		"thrown away":     {nil, 100, "was lost"},
		"the kernel's no": {[]string{launch.CallsUncounted + " (why)"}, 0, "new privileges"}, // as far as this process gets
	} {
		t.Run(name, func(t *testing.T) {
			g, child, err := newGate(&Plan{}, launch.Confinement{Listen: true})
			must(t, err)
			go g.serve()
			defer g.stop()
			say := func(message any, files int) {
				t.Helper()
				data, err := json.Marshal(message)
				must(t, err)
				var rights []byte
				if files > 0 {
					rights = unix.UnixRights(slices.Repeat([]int{0}, files)...)
				}
				must(t, unix.Sendmsg(int(child.Fd()), data, rights, nil, 0))
			}
			say(launch.Hello{Version: config.Version}, 0)
			_, err = unix.Read(int(child.Fd()), make([]byte, launch.MaxGateMessage))
			must(t, err)
			say(launch.Applied{Missing: c.missing}, c.files)
			<-g.done
			if g.err == nil || !strings.Contains(g.err.Error(), c.want) {
				t.Errorf("got %v, want %q", g.err, c.want)
			}
		})
	}
}

// A kernel that has no listener answers by itself, and the report says that nobody hears of it.
func TestLevelCallsUncounted(t *testing.T) {
	best(t)
	was := detected
	defer func() { detected = was }()
	detected = func() Capabilities { c := was(); c.CountsCalls = false; return c }
	var h heard
	r := request(t, "")
	r.Refused = h.tell
	p := start(t, r, "ptrace:1")
	if got := p.results()["ptrace:1"]; got.OK || got.Error == "" {
		t.Errorf("%+v", got)
	}
	if p.report.CallsCounted || !slices.ContainsFunc(p.report.Missing, func(m string) bool { return strings.HasPrefix(m, launch.CallsUncounted) }) || len(h.count) > 0 {
		t.Errorf("%+v, told %v", p.report, h.count)
	}
}
