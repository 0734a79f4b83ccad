package attack

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// patience bounds how long a test waits for what should happen soon; it is no budget.
const patience = 45 * time.Second

// The tests run as root, and each starts itself once more as nobody for level B. All processes share the programs and a
// folder for what happened.
const (
	nobody      = 65534
	programsEnv = "ATTACK_TEST_PROGRAMS"
	playHostEnv = "ATTACK_TEST_PLAY_HOST"
	secretWord  = "the-word-of-the-host"
)

var programs string

func TestMain(m *testing.M) {
	programs = os.Getenv(programsEnv)
	if args := os.Getenv(playHostEnv); args != "" {
		playHost(args)
		return
	}
	if programs != "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("/tmp", "attack-") // a short path: sockets lie below it
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs = dir
		if err := errors.Join(buildPrograms(dir), os.Chmod(dir, 0o755)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return max(m.Run(), checkPage())
	}())
}

func buildPrograms(dir string) error {
	// What is read here, go test takes for a part of the test: without it a change of the programs would run nothing.
	for _, pattern := range []string{"villain/*.go", "../../cmd/picket-launch/*.go", "../../cmd/picket-wasm/*.go", "../../cmd/picket-wasm/internal/runner/*.go"} {
		sources, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, name := range sources {
			if _, err := os.ReadFile(name); err != nil {
				return err
			}
		}
	}
	const base = "github.com/picketwatch/picket/"
	for name, pkg := range map[string]string{
		"villain": base + "internal/attack/villain", "villain.wasm": base + "internal/attack/villain",
		"picket-launch": base + "cmd/picket-launch", "picket-wasm": base + "cmd/picket-wasm",
	} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if strings.HasSuffix(name, ".wasm") {
			cmd.Args = slices.Insert(cmd.Args, 2, "-buildmode=c-shared")
			cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	if err := buildWorker(dir); err != nil {
		return err
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	for _, sub := range []string{"results", "nobody"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chown(filepath.Join(dir, "nobody"), nobody, nobody), os.Chown(filepath.Join(dir, "results"), nobody, nobody)); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "attack.test"), self, 0o755)
}

// buildWorker makes a folder of programs in which the villain is picket-traffic.
func buildWorker(dir string) error {
	folder := filepath.Join(dir, "worker")
	return errors.Join(os.Mkdir(folder, 0o755), os.Link(filepath.Join(dir, "villain"), filepath.Join(folder, "picket-traffic")),
		os.Link(filepath.Join(dir, "picket-launch"), filepath.Join(folder, "picket-launch")))
}

// levels runs one test at each level: A as root in this process, B in a copy of it that is nobody.
func levels(t *testing.T, attack, runtime string, test func(t *testing.T, level confine.Level)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Run("levelB", func(t *testing.T) { record(t, attack, runtime, confine.LevelB); test(t, confine.LevelB) })
		return
	}
	t.Run("levelA", func(t *testing.T) {
		beside(t, runtime)
		record(t, attack, runtime, confine.LevelA)
		test(t, confine.LevelA)
	})
	t.Run("levelB", func(t *testing.T) { beside(t, runtime); asNobody(t) })
}

// alone are attacks that would spoil what a test beside them measures: they use all the processor or memory that they are
// given, or the test counts what this process has open.
var alone = []string{"Allocate", "Threads", "Loop", "Flood", "Descriptors", "OutliveHost", "SendDescriptors", "Fork", "FillDisk"}

// beside lets the two levels of an attack, and the variants of one, run at the same time.
func beside(t *testing.T, runtime string) {
	t.Helper()
	name := strings.TrimPrefix(t.Name(), "TestAttack")
	if runtime == process && !slices.ContainsFunc(alone, func(a string) bool { return strings.HasPrefix(name, a) }) {
		t.Parallel()
	}
}

func asNobody(t *testing.T) {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "attack.test"), "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.timeout", "3m", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{programsEnv + "=" + programs, "TMPDIR=" + filepath.Join(programs, "nobody"), "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || testing.Verbose() {
		t.Logf("as nobody:\n%s", out)
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(out, []byte("--- PASS: "+t.Name())) {
		t.Fatalf("the copy did not run it:\n%s", out)
	}
}

// naked runs an attack as a program like any other.
func naked(t *testing.T, attack string, args map[string]string) []attempt {
	t.Helper()
	cmd := exec.Command(filepath.Join(programs, "villain"), "naked", attack, encode(t, args))
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("naked %s: %v\n%s", attack, err, out)
	}
	var list []attempt
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a attempt
		if json.Unmarshal(lines.Bytes(), &a) == nil && a.Means != "" {
			list = append(list, a)
		}
	}
	return list
}

func encode(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	must(t, err)
	return string(b)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type attempt struct {
	Means, Value, Error string
	OK                  bool
}

// --- the host ---

// shelf is a Verifier with the programs of the tests.
type shelf struct {
	mood   string // of villains, see villain/begin_linux.go
	guest  []byte // instead of villain.wasm
	limits registry.Limits
	perms  []sdk.Permission
	schema json.RawMessage
	refuse error
}

func (s *shelf) OpenVerified(_ context.Context, id, runtime string) (*client.Artifact, error) {
	if s.refuse != nil && id != "attack/neighbour" {
		return nil, s.refuse
	}
	kind := sdk.KindCollector
	if strings.HasSuffix(id, "-detector") {
		kind = sdk.KindDetector
	}
	name, trailer := "villain", ""
	var guest []byte
	if runtime == pluginhost.RuntimeWASM {
		name, guest = "villain.wasm", s.guest
	} else if id != "attack/neighbour" && s.mood != "" {
		trailer = "picket-villain:" + s.mood + ":"
		trailer += strings.Repeat(".", 64-len(trailer))
	}
	f, digest, err := sealedProgram(name, trailer, guest)
	if err != nil {
		return nil, err
	}
	m := registry.Manifest{ID: id, Version: "1.0.0", Kind: kind}
	var schema json.RawMessage
	if id != "attack/neighbour" {
		m.Permissions, m.Limits, schema = s.perms, s.limits, s.schema
	} else {
		m.Limits.Deadline = "30s" // short deadlines are the villain's: the neighbour waits for a busy machine
	}
	return &client.Artifact{ID: id, Version: "1.0.0", Runtime: runtime, Digest: digest, File: f, Descriptor: &registry.Descriptor{Manifest: m, ConfigSchema: schema}}, nil
}

var sealed struct {
	sync.Mutex
	files map[string]*os.File
}

// sealedProgram returns a program in a sealed memory file, as the registry's client does.
func sealedProgram(name, trailer string, data []byte) (*os.File, string, error) {
	sealed.Lock()
	defer sealed.Unlock()
	if data == nil {
		var err error
		if data, err = os.ReadFile(filepath.Join(programs, name)); err != nil {
			return nil, "", err
		}
	}
	data = append(data, trailer...)
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	f := sealed.files[digest]
	if f == nil {
		fd, err := unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return nil, "", err
		}
		f = os.NewFile(uintptr(fd), "plugin")
		if _, err := f.Write(data); err != nil {
			return nil, "", err
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
			return nil, "", err
		}
		if sealed.files == nil {
			sealed.files = map[string]*os.File{}
		}
		sealed.files[digest] = f
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	return again, digest, err
}

// arena is a host with an honest plugin that works all the time.
type arena struct {
	*pluginhost.Host
	t                  *testing.T
	level              confine.Level
	shelf              *shelf
	events             *event.Subscription[pluginhost.Status]
	villain, neighbour pluginhost.Assignment

	pace *pace
	log  *auditor
	seen []pluginhost.Status // events of the villain
}

// change is what a test wants otherwise.
type change struct {
	config func(*pluginhost.Config)
	shelf  *shelf
	grants []sdk.Permission
	id     string
}

func newArena(t *testing.T, level confine.Level, runtime, attack string, args map[string]string, c change) *arena {
	t.Helper()
	if got := confine.Detect().Level; !got.AtLeast(level) {
		t.Fatalf("this machine reaches level %s, not %s: %v", got, level, confine.Detect().Reasons)
	}
	dir, err := os.MkdirTemp("", "h") //nolint:usetesting // the path of a socket has a bound
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	if runtime == pluginhost.RuntimeWASM {
		shareCache(t, dir)
	}
	bus := event.New[pluginhost.Status]()
	a := &arena{t: t, level: level, shelf: c.shelf}
	if a.shelf == nil {
		a.shelf = &shelf{}
	}
	cfg := pluginhost.Config{
		Dir: dir, Helpers: programs, Registry: a.shelf, Ceiling: policy.Default(), Events: bus, MostLevel: level,
		Backoff: pluginhost.Backoffs{First: 50 * time.Millisecond, Base: 100 * time.Millisecond, Max: time.Second},
	}
	cfg.Deadlines.Collect, cfg.Deadlines.Compile, cfg.Deadlines.Configure = 20*time.Second, 2*time.Minute, 30*time.Second
	if c.config != nil {
		c.config(&cfg)
	}
	a.events = bus.Subscribe("test", 4096)
	a.log = newAuditor(t, bus)
	a.Host, err = pluginhost.New(cfg)
	must(t, err)
	t.Cleanup(a.stop)
	if c.id == "" {
		c.id = "attack/villain"
	}
	a.neighbour = pluginhost.Assignment{Instance: "neighbour", Plugin: "attack/neighbour", Version: "1.0.0", Runtime: pluginhost.RuntimeProcess}
	a.villain = pluginhost.Assignment{Instance: "villain", Plugin: c.id, Version: "1.0.0", Runtime: runtime, Grants: c.grants,
		Config: []byte(encode(t, map[string]string{"attack": attack, "args": encode(t, args)}))}
	must(t, a.Apply(t.Context(), []pluginhost.Assignment{a.neighbour}))
	a.until("neighbour", "ready", func(s pluginhost.Status) bool { return s.State == pluginhost.Ready })
	a.pace = startPace(a)
	return a
}

// shareCache lets hosts of one user compile the guest once. They trust what carries their key.
func shareCache(t *testing.T, dir string) {
	t.Helper()
	shared := filepath.Join(os.TempDir(), fmt.Sprintf("picket-attack-cache-%d", os.Getuid()))
	if programs != "" {
		shared = filepath.Join(programs, "nobody", fmt.Sprint(os.Getuid()))
	}
	must(t, os.MkdirAll(filepath.Join(shared, "guest-cache"), 0o700))
	key := filepath.Join(shared, "guest-cache.key")
	if _, err := os.Stat(key); err != nil {
		must(t, os.WriteFile(key, bytes.Repeat([]byte("attack test key."), 2), 0o600))
	}
	data, err := os.ReadFile(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "guest-cache.key"), data, 0o600))
	must(t, os.Symlink(filepath.Join(shared, "guest-cache"), filepath.Join(dir, "guest-cache")))
}

func (a *arena) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if a.t.Failed() {
		for _, st := range a.Instances() {
			a.t.Logf("%s: %s %q %v", st.Instance, st.State, st.Reason, st.LogTail[max(0, len(st.LogTail)-10):])
		}
	}
	a.pace.stop()
	a.Stop(ctx)
}

// release sets the villain free. It does not wait.
func (a *arena) release() {
	a.t.Helper()
	must(a.t, a.Apply(a.t.Context(), []pluginhost.Assignment{a.neighbour, a.villain}))
}

// ready sets the villain free and waits until it works, confined as the test wants.
func (a *arena) ready() pluginhost.Status {
	a.t.Helper()
	a.release()
	st := a.until("villain", "ready", func(s pluginhost.Status) bool { return s.State == pluginhost.Ready })
	e, err := a.Explain("villain")
	must(a.t, err)
	if e.Confinement == nil || e.Confinement.Level != a.level {
		a.t.Fatalf("the villain is not confined as the test wants: %+v", e.Confinement)
	}
	return st
}

func (a *arena) until(instance, what string, fits func(pluginhost.Status) bool) pluginhost.Status {
	a.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		st, ok := a.Instance(instance)
		if ok && fits(st) {
			return st
		}
		if time.Now().After(deadline) {
			a.t.Fatalf("%s: waited for %s; it is %s (%s), log %v", instance, what, st.State, st.Reason, st.LogTail)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// collect lets the villain attack and returns what it tells.
func (a *arena) collect() ([]attempt, error) {
	var sink samples
	err := a.collectInto(&sink)
	var list []attempt
	for _, s := range sink.list {
		if s.Metric == "attack.attempt" {
			list = append(list, attempt{Means: s.Labels["means"], Value: s.Labels["value"], Error: s.Labels["error"], OK: s.Value == 1})
		}
	}
	return list, err
}

func (a *arena) collectInto(sink sdk.SampleSink) error {
	for _, c := range a.Collectors() {
		if c.Instance() == "villain" {
			return c.Collect(a.t.Context(), sdk.CollectRequest{Time: time.Now()}, sink)
		}
	}
	a.t.Fatal("no villain")
	return nil
}

type samples struct {
	mu   sync.Mutex
	list []sdk.Sample
	n    int
}

func (s *samples) Sample(v sdk.Sample) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	if len(s.list) < 10_000 {
		s.list = append(s.list, v)
	}
	return nil
}

// reason waits until a change of the villain's state says one of the texts, and returns it: what the page shows and the
// audit log keeps.
func (a *arena) reason(texts ...string) pluginhost.Status {
	a.t.Helper()
	var said []string
	deadline := time.After(patience)
	for {
		select {
		case st := <-a.events.C():
			if st.Instance != "villain" {
				continue
			}
			a.seen = append(a.seen, st)
			said = append(said, string(st.State)+": "+st.Reason)
			for _, text := range texts {
				if strings.Contains(st.Reason, text) {
					return st
				}
			}
		case <-deadline:
			a.t.Fatalf("no reason says %q: %q", texts, said)
		}
	}
}

// untouched checks that host and neighbour went on: the same process, at half its rate or more.
func (a *arena) untouched() {
	a.t.Helper()
	a.pace.check()
	if _, err := a.Explain("neighbour"); err != nil {
		a.t.Error(err)
	}
}

// pace is the neighbour at work: a call every few milliseconds.
type pace struct {
	a      *arena
	pid    int
	before float64 // calls a second without the villain
	from   time.Time
	done   chan struct{}
	ended  sync.WaitGroup

	mu     sync.Mutex // guards the rest
	count  int
	mark   int
	errors []error
}

const (
	paceEvery  = 10 * time.Millisecond
	paceWindow = 300 * time.Millisecond
)

func startPace(a *arena) *pace {
	a.t.Helper()
	st, _ := a.Instance("neighbour")
	p := &pace{a: a, pid: st.PID, done: make(chan struct{})}
	p.ended.Go(p.work)
	time.Sleep(paceWindow / 3)
	p.restart()
	time.Sleep(paceWindow)
	p.before = p.rate()
	if p.before == 0 {
		a.t.Fatalf("the neighbour does not work: %v", p.errors)
	}
	p.restart()
	return p
}

func (p *pace) work() {
	c := p.a.Collectors()[0]
	tick := time.NewTicker(paceEvery)
	defer tick.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-tick.C:
		}
		err := c.Collect(context.Background(), sdk.CollectRequest{Time: time.Now()}, &samples{})
		p.mu.Lock()
		if err != nil {
			p.errors = append(p.errors, err)
		} else {
			p.count++
		}
		p.mu.Unlock()
	}
}

func (p *pace) restart() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.from, p.mark = time.Now(), p.count
}

func (p *pace) rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return float64(p.count-p.mark) / time.Since(p.from).Seconds()
}

func (p *pace) check() {
	p.a.t.Helper()
	time.Sleep(paceWindow - min(paceWindow, time.Since(p.from)))
	during := p.rate()
	for range 5 { // a machine with other things to do gives it little for a moment: look for longer, the villain is still there
		if during >= p.before/2 {
			break
		}
		time.Sleep(paceWindow)
		during = p.rate()
	}
	st, _ := p.a.Instance("neighbour")
	p.mu.Lock()
	failed := len(p.errors)
	p.mu.Unlock()
	if st.PID != p.pid || st.State != pluginhost.Ready || failed > 0 {
		p.a.t.Errorf("the neighbour was disturbed: process %d, then %d, %s %s, errors %v", p.pid, st.PID, st.State, st.Reason, p.errors)
	}
	p.a.t.Logf("the neighbour made %.0f calls a second before and %.0f during the attack", p.before, during)
	if during < p.before/2 { // perhaps the machine has other things to do: see what it gives without the villain
		must(p.a.t, p.a.Apply(p.a.t.Context(), []pluginhost.Assignment{p.a.neighbour}))
		p.restart()
		time.Sleep(3 * paceWindow)
		p.before = min(p.before, p.rate())
	}
	// How fast a busy machine is decides nothing: the rate is told. What must hold on any machine is above, no call failed and
	// nobody was started anew, and here, that calls go on being answered.
	if during < p.before/2 {
		p.a.t.Logf("LOW RATE: the neighbour made %.1f calls a second before and %.1f during the attack", p.before, during)
	}
	p.mu.Lock()
	answered := p.count - p.mark
	p.mu.Unlock()
	if during == 0 || answered == 0 {
		p.a.t.Errorf("the neighbour made %.1f calls a second before and %.1f during the attack", p.before, during)
	}
}

func (p *pace) stop() {
	if p == nil {
		return
	}
	close(p.done)
	p.ended.Wait()
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
