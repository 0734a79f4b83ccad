package confine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
)

// The tests run as root for level A, and once more as nobody for level B: TestMain starts a copy of itself. Both need
// programs and folders that nobody may read.
const (
	nobody     = 65534
	programDir = "CONFINE_TEST_PROGRAMS"
)

var programs string // picket-launch and probe

func TestMain(m *testing.M) {
	if programs = os.Getenv(programDir); programs != "" {
		os.Exit(m.Run())
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "confine-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		programs = dir
		if err := buildPrograms(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

func buildPrograms(dir string) error {
	const example = "github.com/picketwatch/picket/cmd/picket-wasm/internal/tiny/cmd"
	for name, pkg := range map[string]string{
		"collector": example, "collector.wasm": example,
		"picket-launch": "github.com/picketwatch/picket/cmd/picket-launch",
		"picket-wasm":   "github.com/picketwatch/picket/cmd/picket-wasm",
		"hostmetrics":   "github.com/picketwatch/picket/plugins/collectors/host/cmd",
		"probe":         "github.com/picketwatch/picket/core/kernel/pluginhost/confine/testdata/probe",
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
	return os.Chmod(dir, 0o755)
}

// TestAsNobody runs every test of this file's kind once more without any privilege.
func TestAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("already an ordinary user")
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(programs, "confine.test")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "confine-nobody-") //nolint:usetesting // another user must come to it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	args := []string{"-test.run", "^TestLevel", "-test.timeout", "3m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{programDir + "=" + programs, "TMPDIR=" + tmp, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("as nobody:\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// best is the level that this user reaches on this machine, which must not be C: the machines that run these tests can do
// more.
func best(t *testing.T) Level {
	t.Helper()
	c := Detect()
	want := LevelB
	if os.Geteuid() == 0 {
		want = LevelA
	}
	if c.Level != want {
		t.Fatalf("reaches level %s, want %s: %v", c.Level, want, c.Reasons)
	}
	return want
}

// process is a running probe.
type process struct {
	t      *testing.T
	plan   *Plan
	cmd    *exec.Cmd
	report Report
	out    *bytes.Buffer
	stderr *bytes.Buffer
	exited chan error
	hold   *os.File // the lifeline
}

type result struct {
	Try, Value, Error string
	OK                bool
}

func request(t *testing.T, level Level) Request {
	t.Helper()
	sockets, err := os.MkdirTemp("", "s") //nolint:usetesting // the path of a socket has a bound
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	return Request{
		Instance: "probe", Kind: sdk.KindCollector, Runtime: "process", Limits: Defaults(sdk.KindCollector), SocketDir: sockets,
		Ceiling: policy.Default(), Most: level, AnyLevel: level == LevelC,
	}
}

// start runs the probe with these attempts, through the gate.
func start(t *testing.T, r Request, attempts ...string) *process {
	t.Helper()
	p, err := tryStart(t, r, launch.Spec{Name: "probe", Program: "/proc/self/fd/3"}, openProgram(t, "probe"), attempts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func openProgram(t *testing.T, name string) *os.File {
	t.Helper()
	f, err := os.Open(filepath.Join(programs, name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func tryStart(t *testing.T, r Request, spec launch.Spec, program *os.File, attempts ...string) (*process, error) {
	t.Helper()
	return tryStartWith(t, r, spec, program, nil, attempts...)
}

// tryStartWith hands over more files, from descriptor 5 on, which spec keeps.
func tryStartWith(t *testing.T, r Request, spec launch.Spec, program *os.File, more []*os.File, attempts ...string) (*process, error) {
	t.Helper()
	plan, err := New(r)
	if err != nil {
		return nil, err
	}
	watch, hold, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	p := &process{t: t, plan: plan, out: &bytes.Buffer{}, stderr: &bytes.Buffer{}, exited: make(chan error, 1), hold: hold}
	t.Cleanup(func() {
		p.kill()
		hold.Close()
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := plan.Prepare(); err != nil {
		return p, err
	}
	spec.Parent, spec.Lifeline, spec.Args = os.Getpid(), 4, append(spec.Args, attempts...)
	p.cmd, err = plan.Command(filepath.Join(programs, "picket-launch"), spec, append([]*os.File{program, watch}, more...))
	if err != nil {
		return p, err
	}
	p.cmd.Env = []string{"GIVEN=yes"}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.stderr
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the process dies with this thread
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.exited <- p.cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		close(p.exited)
		return p, err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	p.report, err = plan.Report(ctx)
	if err != nil {
		if ctx.Err() != nil {
			p.kill()
		}
		_ = p.end() // it may still be writing
		err = fmt.Errorf("%w; stderr: %s", err, p.stderr)
	}
	return p, err
}

func (p *process) kill() {
	if p.cmd == nil || p.cmd.Process == nil {
		return
	}
	_ = p.plan.Kill()
	_ = p.cmd.Process.Kill()
	_ = p.end()
}

// end waits for the end of the process, once or again.
func (p *process) end() error { return <-p.exited }

// results waits for the end of the probe.
func (p *process) results() map[string]result {
	p.t.Helper()
	err := <-p.exited
	all := map[string]result{}
	lines := bufio.NewScanner(bytes.NewReader(p.out.Bytes()))
	for lines.Scan() {
		var r result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			p.t.Fatalf("%v in %q", err, lines.Text())
		}
		all[r.Try] = r
	}
	if err != nil {
		all["exit"] = result{Try: "exit", Error: err.Error(), Value: p.stderr.String()}
	}
	return all
}

func only(t *testing.T, p *process, word string) result {
	t.Helper()
	all := p.results()
	r, ok := all[word]
	if !ok {
		if r = all["exit"]; r.Error == "" {
			t.Fatalf("%s said nothing: %v, stderr %s", word, all, p.stderr)
		}
	}
	return r
}
