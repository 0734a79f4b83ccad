package confine

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
	if got := only(t, start(t, r, "refused:2000"), "refused:2000"); !got.OK {
		t.Fatalf("%+v", got)
	} else {
		t.Logf("%d refused calls in %s, the longest %s", calls, time.Since(began).Round(time.Millisecond), got.Value)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for c, n := range h.count {
		if c.Call != "ptrace" || n != calls {
			t.Errorf("%s was told %d times", c.Call, n)
		}
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("%d calls were answered in %s: the host does whatever it is asked", calls, took)
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
