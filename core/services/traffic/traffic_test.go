package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// TestMain lets this test binary play the worker: real processes, real pipes, and every way to misbehave.
func TestMain(m *testing.M) {
	if how := os.Getenv("TRAFFIC_TEST_WORKER"); how != "" {
		playWorker(how)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func say(kind byte, body []byte) {
	out := os.NewFile(4, "out")
	switch kind {
	case msgFrame, msgFacts, msgFeatures:
		body = s2.Encode(nil, body)
	}
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	_, _ = out.Write(append(append(head, kind), body...))
}

func sayJSON(kind byte, v any) {
	b, _ := json.Marshal(v)
	say(kind, b)
}

func playWorker(how string) {
	capture, _ := io.ReadAll(os.NewFile(3, "capture"))
	progress := progressMessage{BytesRead: 50, Total: 100, Packets: 17, Flows: 3}
	switch how {
	case "honest":
		say(msgFrame, capture)
		sayJSON(msgProgress, progress)
		sayJSON(msgDone, doneMessage{Packets: 40, Bytes: 4000, Flows: 5, First: time.Unix(1, 0), Last: time.Unix(9, 0),
			Services: append([]ServedPort{{17, 161, 3}, {6, 1, -5}, {6, 80, 1 << 40}}, make([]ServedPort, 500)...)})
	case "killed":
		say(msgFrame, capture)
		sayJSON(msgProgress, progress)
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "panics":
		sayJSON(msgProgress, progress)
		os.Stderr.WriteString("panic: index out of range\n\ngoroutine 1 [running]:\n")
		os.Exit(2)
	case "tells":
		sayJSON(msgError, workerError{Message: "not a capture file", Packet: 0})
	case "tells-packet":
		sayJSON(msgError, workerError{Message: "header announces 3 GB", Packet: 12})
	case "boasts": // announces a message that nobody should make room for
		_, _ = os.NewFile(4, "out").Write([]byte{0xff, 0xff, 0xff, 0xff, msgFrame})
		time.Sleep(time.Minute)
	case "hangs":
		sayJSON(msgProgress, progress)
		time.Sleep(time.Hour)
	case "half", "endless":
		if how == "half" {
			say(msgFrame, capture)
		}
		for {
			sayJSON(msgProgress, progress)
			time.Sleep(10 * time.Millisecond)
		}
	case "garbage":
		say(9, []byte("?"))
	case "facts":
		say(msgFacts, records.AppendFacts(nil, []sdk.DNS{{Query: "example.com"}}))
		say(msgFrame, capture)
		say(msgFacts, records.AppendFacts(nil, []sdk.DNS{{Query: "example.org"}}))
		sayJSON(msgDone, doneMessage{Packets: 40, LinkTypes: make([]int, 500), Quality: Quality{
			Outcomes: map[string]uint64{"flow": 39, "not-ip": 1, strings.Repeat("x", 100): 1}, Panics: 2,
			Protocols: append([]ProtocolFlows{{"dns", 5}}, make([]ProtocolFlows, 500)...), Names: make([]NamedAddress, 5000),
			Notes: append([]string{"a parser broke\nand said " + strings.Repeat("much", 100)}, make([]string, 100)...),
		}})
	case "many-facts":
		say(msgFacts, records.AppendFacts(nil, []sdk.DNS{{Query: strings.Repeat("x", records.MaxFacts)}}))
		sayJSON(msgDone, doneMessage{})
	case "counts-high":
		const most = 1<<64 - 1
		sayJSON(msgDone, doneMessage{Packets: most, Bytes: most, Flows: most, Undecoded: most})
	case "unasked-facts":
		say(msgFacts, records.AppendFacts(nil, []sdk.ARP{{Operation: "request"}}))
		sayJSON(msgDone, doneMessage{})
	case "unasked-features":
		say(msgFeatures, records.PackFeatures(nil, []sdk.Flow{{}}))
		sayJSON(msgDone, doneMessage{})
	case "no-facts":
		say(msgFacts, []byte("PKRW but not quite"))
		sayJSON(msgDone, doneMessage{})
	case "unasked":
		say(msgPiece, []byte("?"))
	default:
		playCarver(how, string(capture))
	}
}

// memory is a Store that keeps captures in a map.
type memory struct {
	mu   sync.Mutex
	rows map[string]Capture
	left []Capture
}

func (m *memory) AddCapture(_ context.Context, c Capture) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[c.ID] = c
	return nil
}

func (m *memory) SaveCapture(ctx context.Context, c Capture) error {
	same := func(o Capture) bool { return o.ID == c.ID && o.Tenant == c.Tenant }
	if !same(m.get(c.ID)) && !slices.ContainsFunc(m.left, same) {
		return errors.New("there is no such capture")
	}
	return m.AddCapture(ctx, c)
}

func (m *memory) Room(context.Context, string, int64) error { return nil }

func (m *memory) DeleteCapture(_ context.Context, c Capture) (shared bool, err error) {
	id := c.ID
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := m.rows[id].SHA256
	delete(m.rows, id)
	for _, r := range m.rows {
		shared = shared || r.SHA256 == sum
	}
	return shared, nil
}

func (m *memory) Unfinished(context.Context) ([]Capture, error) { return m.left, nil }

func (m *memory) get(id string) Capture {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows[id]
}

// analysis records the frames it gets and answers with one finding per frame.
type analysis struct {
	ctx      context.Context
	frames   int
	facts    int
	complete bool
	retry    bool
}

func (a *analysis) Frame(context.Context, records.Parcel) error { a.frames++; return nil }

func (a *analysis) Facts(context.Context, string, records.Parcel) error { a.facts++; return nil }
func (a *analysis) Packets(context.Context, int, []byte) error          { return nil }
func (a *analysis) Wanted() Wanted                                      { return Wanted{Facts: []string{sdk.FactsDNS}} }
func (a *analysis) Close(_ context.Context, complete bool) Outcome {
	a.complete = complete
	if a.ctx.Err() != nil {
		return Outcome{} // too late for the detectors to finish
	}
	return Outcome{Findings: make([]sdk.Finding, a.frames), Retry: a.retry}
}

type bench struct {
	*Service
	store     *memory
	how       string
	last      *analysis
	retries   int // analyses that say a detector was gone
	analyses  int
	delivered int
}

func newBench(t *testing.T, how string) *bench {
	t.Helper()
	b := &bench{store: &memory{rows: map[string]Capture{}}, how: how}
	svc, err := New(t.Context(), b.config(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	b.Service = svc
	return b
}

func (b *bench) config(dir string) Config {
	return Config{
		Dir: dir, Store: b.store, MaxBytes: 1 << 20, Now: time.Now, Changed: func(Capture) {}, Stall: 20 * time.Second,
		Worker: func(Wanted) *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = []string{"TRAFFIC_TEST_WORKER=" + b.how}
			return cmd
		},
		Carver: func(args []string) *exec.Cmd {
			cmd := exec.Command(os.Args[0], args...)
			cmd.Env = []string{"TRAFFIC_TEST_WORKER=" + b.how}
			return cmd
		},
		Analyse: func(ctx context.Context, _ Capture) Analysis {
			b.analyses++
			b.last = &analysis{ctx: ctx, retry: b.analyses <= b.retries}
			return b.last
		},
		Deliver: func(_ context.Context, _ Capture, f []sdk.Finding) error { b.delivered += len(f); return nil },
	}
}

// finish uploads content and works until the job has ended.
func (b *bench) finish(t *testing.T, content string) Capture {
	t.Helper()
	c, err := b.Receive(t.Context(), "acme", "some.pcap", "user:ada", strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	next, job := b.next()
	if job == nil || next.ID != c.ID {
		t.Fatalf("no job for the upload")
	}
	b.analyse(t.Context(), next, job)
	return b.store.get(c.ID)
}

func TestAnHonestWorker(t *testing.T) {
	b := newBench(t, "honest")
	c := b.finish(t, "bytes of a capture")
	if c.State != Done || c.Error != "" || c.Progress != 1 {
		t.Fatalf("got %+v", c)
	}
	if c.Packets != 40 || c.Bytes != 4000 || c.Flows != 5 || !c.First.Equal(time.Unix(1, 0)) || c.Findings != 1 || b.delivered != 1 {
		t.Fatalf("got %+v, delivered %d", c, b.delivered)
	}
	if want := []ServedPort{{17, 161, 3}, {6, 80, maxHosts}}; !slices.Equal(c.Services, want) {
		t.Errorf("of what the worker said of services %v was kept, not %v", c.Services, want)
	}
	if len(c.SHA256) != 64 || c.Size != 18 {
		t.Errorf("sha256 %q, size %d", c.SHA256, c.Size)
	}
}

func TestAWorkerThatFails(t *testing.T) {
	cases := []struct {
		how    string
		want   []string // in the error of the job
		packet uint64
	}{
		{"killed", []string{"died after packet 17", "signal: killed"}, 17},
		{"panics", []string{"died after packet 17", "exit status 2", "panic: index out of range"}, 17},
		{"tells", []string{"not a capture file"}, 0},
		{"tells-packet", []string{"packet 12: header announces 3 GB"}, 12},
		{"boasts", []string{"4294967295 bytes"}, 0},
		{"garbage", []string{"unknown kind 9"}, 0},
	}
	for _, tc := range cases {
		t.Run(tc.how, func(t *testing.T) {
			b := newBench(t, tc.how)
			c := b.finish(t, "x")
			if c.State != Failed || c.ErrorAfter != tc.packet {
				t.Fatalf("state %s after packet %d: %s", c.State, c.ErrorAfter, c.Error)
			}
			for _, want := range tc.want {
				if !strings.Contains(c.Error, want) {
					t.Errorf("%q does not contain %q", c.Error, want)
				}
			}
			if strings.ContainsAny(c.Error, "\n\r") {
				t.Errorf("not one line: %q", c.Error)
			}
			b.how = "honest" // and the next capture is fine
			if c := b.finish(t, "y"); c.State != Done {
				t.Errorf("the next capture: %s %s", c.State, c.Error)
			}
		})
	}
}

func TestASilentWorkerIsStopped(t *testing.T) {
	b := newBench(t, "hangs")
	b.cfg.Stall = 300 * time.Millisecond
	c := b.finish(t, "x")
	if c.State != Failed || !strings.Contains(c.Error, "said nothing for 300ms") || c.ErrorAfter != 17 {
		t.Fatalf("got %+v", c)
	}
}

// A worker that talks and talks does not hold the queue for ever.
func TestAJobThatTakesTooLong(t *testing.T) {
	b := newBench(t, "endless")
	b.cfg.MaxTime = 500 * time.Millisecond
	c := b.finish(t, "x")
	if c.State != Failed || !strings.Contains(c.Error, "longer than the limit of 500ms") || c.ErrorAfter != 17 {
		t.Fatalf("got %+v", c)
	}
	b.cfg.MaxTime = time.Hour
	b.how = "honest"
	if c := b.finish(t, "y"); c.State != Done {
		t.Errorf("the next capture: %s %s", c.State, c.Error)
	}
}

func TestDelete(t *testing.T) {
	b := newBench(t, "endless")
	receive := func(content string) Capture {
		t.Helper()
		c, err := b.Receive(t.Context(), "acme", "some.pcap", "user:ada", strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	running, waiting, twin := receive("first"), receive("second"), receive("first")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { b.Run(ctx); close(done) }()
	defer func() { cancel(); <-done }()
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("waited for %s", what)
			}
		}
	}
	stored := func(c Capture) bool { _, err := os.Stat(b.path(c.SHA256)); return err == nil }
	until("the first to run", func() bool { return b.store.get(running.ID).State == Running })
	for _, c := range []Capture{waiting, running} {
		if err := b.Delete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if stored(waiting) || !stored(running) {
		t.Errorf("the waiting one is stored: %v; the running one, whose bytes another has: %v", stored(waiting), stored(running))
	}
	until("the twin to run", func() bool { return b.store.get(twin.ID).State == Running })
	if err := b.Delete(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	if stored(twin) {
		t.Error("bytes that nobody has any more are stored")
	}
	if len(b.store.rows) != 0 || b.Waiting() != 0 {
		t.Errorf("%d rows, %d waiting", len(b.store.rows), b.Waiting())
	}
}

func TestFindingsBeforeTheDeathAreKept(t *testing.T) {
	b := newBench(t, "killed")
	if c := b.finish(t, "x"); c.State != Failed {
		t.Fatalf("state %s", c.State)
	}
	if b.analyses != 1 {
		t.Errorf("the detectors were used %d times", b.analyses)
	}
	if b.delivered != 1 {
		t.Errorf("%d findings delivered, want the 1 that was made", b.delivered)
	}
}

func TestAnalysedAgainWhenADetectorWasGone(t *testing.T) {
	b := newBench(t, "honest")
	b.retries = 1
	if c := b.finish(t, "x"); c.State != Done || c.Findings != 1 {
		t.Fatalf("got %+v", c)
	}
	if b.analyses != 2 {
		t.Errorf("analysed %d times, want 2", b.analyses)
	}
}

func TestUnfinishedJobsAreTakenUpAgain(t *testing.T) {
	b := newBench(t, "honest")
	c, err := b.Receive(t.Context(), "acme", "a", "user:ada", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	b.store.left = []Capture{b.store.get(c.ID)} // as if the program had been killed here
	again, err := New(t.Context(), b.config(b.cfg.Dir))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { again.Run(ctx); close(done) }()
	deadline := time.Now().Add(30 * time.Second)
	for b.store.get(c.ID).State != Done && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	cancel()
	<-done
	if got := b.store.get(c.ID); got.State != Done {
		t.Fatalf("state %s %s", got.State, got.Error)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte{2, 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{2, 0, 0, 0, 6, 0xff, 0x7f})
	f.Add(append([]byte{byte(len(s2.Encode(nil, []byte("rows")))), 0, 0, 0, 8}, s2.Encode(nil, []byte("rows"))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMessages(bytes.NewReader(data), time.Second)
		for total := 0; ; {
			got, err := m.next()
			if err != nil {
				return
			}
			came := got.body
			if got.packed != nil {
				came = got.packed
			}
			if total += 5 + len(came); total > len(data) || len(got.body) > max(len(data), records.MaxFrame) {
				t.Fatal("more came out than went in")
			}
		}
	})
}
