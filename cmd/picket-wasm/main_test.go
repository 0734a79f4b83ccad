package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/cmd/picket-wasm/internal/runner"
	"github.com/picketwatch/picket/cmd/picket-wasm/internal/tiny"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
	"github.com/picketwatch/picket/sdk/serve"
)

// patience bounds every wait; a guest may have to be compiled on a busy machine.
const patience = 3 * time.Minute

// The test program is also the runner and the native plugin.
func TestMain(m *testing.M) {
	switch os.Getenv("PICKET_TEST_ROLE") {
	case "runner":
		main()
		return
	case "plugin":
		sdk.Register(tiny.Plugin())
		serve.Main()
		return
	}
	dir, err := os.MkdirTemp("", "picket-wasm-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// workDir holds the guest and its compiled form for all tests.
var workDir string

// buildGuest compiles package tiny to WASM, once.
var buildGuest = sync.OnceValues(func() (string, error) {
	file := filepath.Join(workDir, "tiny.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", file, "./internal/tiny/cmd")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	return file, nil
})

func guestFile(tb testing.TB) string {
	tb.Helper()
	file, err := buildGuest()
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func cacheDir() string { return filepath.Join(workDir, "cache") }

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) waitFor(t *testing.T, text string) {
	t.Helper()
	has := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Contains(l.b.String(), text)
	}
	for end := time.Now().Add(patience); !has(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in the log:\n%s", text, l.b.String())
		}
	}
}

// start starts the plugin in one of the runtimes.
func start(tb testing.TB, kind string) (*host.Process, *logBuffer) {
	tb.Helper()
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // t.TempDir is too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{"PICKET_TEST_ROLE=plugin"}
	if kind == "wasm" {
		f, err := os.Open(guestFile(tb))
		if err != nil {
			tb.Fatal(err)
		}
		defer f.Close()
		cmd.Args = append(cmd.Args, "--guest-fd", "3", "--cache", cacheDir(), "--cache-key-fd", "4", "--memory", "64")
		cmd.Env = []string{"PICKET_TEST_ROLE=runner"}
		key := keyPipe(tb)
		defer key.Close()
		cmd.ExtraFiles = []*os.File{f, key}
	}
	log := &logBuffer{}
	p, err := host.Start(testContext(tb), host.Config{Name: kind, Cmd: cmd, SocketDir: dir, StartTimeout: patience, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Kill)
	return p, log
}

func configure(tb testing.TB, p *host.Process, config string, grants ...sdk.Permission) *host.Instance {
	tb.Helper()
	i, err := p.Configure(testContext(tb), host.InstanceConfig{Instance: "i", Plugin: "test/tiny", Config: []byte(config), Grants: grants,
		Secrets: map[string]string{"token": "hush"}})
	if err != nil {
		tb.Fatal(err)
	}
	return i
}

type findings []sdk.Finding

func (f *findings) Finding(v sdk.Finding) error {
	*f = append(*f, v)
	return nil
}

// inProcess lets the detector work without any transport.
func inProcess(t *testing.T, flows []sdk.Flow) findings {
	t.Helper()
	inst := tiny.Plugin().New()
	reflect.ValueOf(inst.Config()).Elem().FieldByName("Limit").SetInt(7)
	var out findings
	sink := sinkFunc(func(f sdk.Finding) error {
		f.Detector = "test/tiny"
		f.ID = sdk.FindingID(f)
		return out.Finding(f)
	})
	if err := inst.(sdk.Detector).Inspect(t.Context(), sdk.Batch{Capture: "c", Flows: flows}, sink); err != nil {
		t.Fatal(err)
	}
	return out
}

type sinkFunc func(sdk.Finding) error

func (f sinkFunc) Finding(v sdk.Finding) error { return f(v) }

func TestSameFindingsInAllRuntimes(t *testing.T) {
	flows := sdktest.SampleFlows()
	want := inProcess(t, flows)
	if len(want) < 2 {
		t.Fatalf("only %d findings: this compares nothing", len(want))
	}
	for kind, size := range map[string]int{"process": records.BatchProcess, "wasm": records.BatchGuest} {
		t.Run(kind, func(t *testing.T) {
			p, _ := start(t, kind)
			i := configure(t, p, `{"limit": 7}`)
			for round := range 2 {
				var got findings
				for rest := flows; len(rest) > 0; {
					n := min(size, len(rest))
					if err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, rest[:n]), &got); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if err := i.Flush(testContext(t), &got); err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("round %d: got  %+v\nwant %+v", round, got, want)
				}
			}
			if err := i.Stop(testContext(t)); err != nil {
				t.Error(err)
			}
			if err := p.Stop(testContext(t)); err != nil || p.ExitCode() != 0 {
				t.Errorf("stop: %v, exit code %d", err, p.ExitCode())
			}
		})
	}
}

func TestSnapshotGoesFromProcessToGuest(t *testing.T) {
	flows := sdktest.SampleFlows()
	want := inProcess(t, flows)
	ctx, half := testContext(t), len(flows)/2
	native, _ := start(t, "process")
	guest, _ := start(t, "wasm")
	a, b := configure(t, native, `{"limit": 7}`), configure(t, guest, `{"limit": 7}`)
	var got findings
	if err := a.Inspect(ctx, "c", records.AppendFlows(nil, flows[:half]), &got); err != nil {
		t.Fatal(err)
	}
	state, err := a.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Restore(ctx, state); err != nil {
		t.Fatal(err)
	}
	if err := b.Inspect(ctx, "c", records.AppendFlows(nil, flows[half:]), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestDescriptionsAgree(t *testing.T) {
	native, _ := start(t, "process")
	want, err := native.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	guest, _ := start(t, "wasm")
	got, err := guest.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(t, got, want) {
		t.Errorf("the guest says %+v, the process %+v", got, want)
	}
	out, code := runRunner(t, "describe", guestFile(t))
	var printed []host.Description
	if err := json.Unmarshal([]byte(out), &printed); err != nil || code != 0 {
		t.Fatalf("describe: exit code %d, %v\n%s", code, err, out)
	}
	if !sameJSON(t, printed, want) {
		t.Errorf("describe prints %+v, the process says %+v", printed, want)
	}
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if err := errors.Join(errX, errY); err != nil {
		t.Fatal(err)
	}
	var cx, cy bytes.Buffer
	if err := errors.Join(json.Compact(&cx, x), json.Compact(&cy, y)); err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(cx.Bytes(), cy.Bytes())
}

// runRunner runs the command to its end.
func runRunner(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(testContext(t), os.Args[0], args...)
	cmd.Env = []string{"PICKET_TEST_ROLE=runner", "HOME=" + workDir}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func oneFlow() []byte {
	return records.AppendFlows(nil, []sdk.Flow{{ID: 1, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2")}})
}

// A guest that trapped is never used again: its process ends with its own exit code, and the host sees that.
func TestTrapEndsTheProcess(t *testing.T) {
	for mode, want := range map[string]string{"panic": "the guest broke", "null": "nil pointer", "hog": "out of memory"} {
		t.Run(mode, func(t *testing.T) {
			p, log := start(t, "wasm")
			i := configure(t, p, `{"mode": "`+mode+`"}`)
			if err := i.Inspect(testContext(t), "c", oneFlow(), &findings{}); sdk.ClassOf(err) != sdk.Temporary {
				t.Errorf("got %v", err)
			}
			waitExit(t, p, runner.ExitTrap)
			log.waitFor(t, want)
			log.waitFor(t, "the guest trapped")
		})
	}
}

func waitExit(t *testing.T, p *host.Process, code int) {
	t.Helper()
	select {
	case <-p.Exited():
	case <-time.After(patience):
		t.Fatal("the process goes on")
	}
	if p.ExitCode() != code {
		t.Errorf("exit code %d, want %d", p.ExitCode(), code)
	}
}

// Nothing inside the process can stop a guest; the host's kill can.
func TestEndlessLoop(t *testing.T) {
	p, _ := start(t, "wasm")
	i := configure(t, p, `{"mode": "loop"}`)
	ctx, cancel := context.WithTimeout(testContext(t), 100*time.Millisecond)
	defer cancel()
	if err := i.Inspect(ctx, "c", oneFlow(), &findings{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	p.Kill()
	waitExit(t, p, -1)
}

// When the host does not kill, the runner gives up by itself.
func TestEndlessLoopWithoutAHost(t *testing.T) {
	p, _ := start(t, "wasm")
	i := configure(t, p, `{"mode": "loop"}`)
	ctx, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if err := i.Inspect(ctx, "c", oneFlow(), &findings{}); err == nil {
		t.Error("an endless loop ended")
	}
	want := runner.ExitDeadline
	if runtime.GOOS == "linux" {
		want = -1 // killed by the kernel's timer
	}
	waitExit(t, p, want)
}

func TestGuestSeesOnlyItsHost(t *testing.T) {
	p, log := start(t, "wasm")
	dial := configure(t, p, `{"mode": "dial"}`, sdk.Permission{Cap: sdk.CapNetDial})
	if err := dial.Inspect(testContext(t), "c", oneFlow(), &findings{}); sdk.ClassOf(err) != sdk.PermissionDenied {
		t.Errorf("dial: %v", err)
	}
	if err := dial.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	secret := configure(t, p, `{"mode": "secret"}`, sdk.Permission{Cap: sdk.CapSecretRead})
	if err := secret.Inspect(testContext(t), "c", oneFlow(), &findings{}); sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "hush and hush") {
		t.Errorf("secret: %v", err)
	}
	if err := secret.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	logs := configure(t, p, `{"mode": "log"}`)
	if err := logs.Inspect(testContext(t), "c", oneFlow(), &findings{}); err != nil {
		t.Fatal(err)
	}
	log.waitFor(t, `level=WARN msg="from the guest" clock=true flows=1 instance=i`)
}

func TestBadFrame(t *testing.T) {
	p, _ := start(t, "wasm")
	i := configure(t, p, `{}`)
	frame := oneFlow()
	frame[20]++ // its length; the checksum is nobody's business here, the connection vouches for the bytes
	for _, bad := range [][]byte{nil, []byte("junk"), frame} {
		if err := i.Inspect(testContext(t), "c", bad, &findings{}); err == nil || !strings.Contains(err.Error(), "not a valid record frame") {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
	var got findings
	if err := i.Inspect(testContext(t), "c", oneFlow(), &got); err != nil {
		t.Errorf("after bad frames: %v", err)
	}
}

func TestConfigurationErrorsCross(t *testing.T) {
	p, _ := start(t, "wasm")
	for _, config := range []string{`{"limit": 0}`, `{"x": 1}`, `[`} {
		_, err := p.Configure(testContext(t), host.InstanceConfig{Instance: "i", Plugin: "test/tiny", Config: []byte(config)})
		if sdk.ClassOf(err) != sdk.InvalidConfig && config != `[` {
			t.Errorf("%s: %v", config, err)
		}
		if err == nil {
			t.Errorf("%s was accepted", config)
		}
	}
}

func TestGuestsThatCannotRun(t *testing.T) {
	// Modules written by hand: magic and version, then one section each.
	head := "\x00asm\x01\x00\x00\x00"
	cases := map[string]struct{ module, want string }{
		"not wasm":       {"#!/bin/sh\n", "compile the guest"},
		"empty":          {"", "compile the guest"},
		"no exports":     {head, "does not export"},
		"strange import": {head + "\x01\x04\x01\x60\x00\x00" + "\x02\x0d\x01\x03env\x05shell\x00\x00", "imports env.shell"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "guest.wasm")
			if err := os.WriteFile(file, []byte(c.module), 0o600); err != nil {
				t.Fatal(err)
			}
			out, code := runRunner(t, "describe", file)
			if code != exitFailed || !strings.Contains(out, c.want) {
				t.Errorf("exit code %d, want %q in\n%s", code, c.want, out)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"--guest-fd", "1"}, {"--guest-fd", "x"}, {"describe"}, {"compile", "x.wasm"}, {"--guest-fd", "3", "--cache", "/tmp"}, {"--memory", "1", "--guest-fd", "3"}, {"what"}} {
		if out, code := runRunner(t, args...); code != exitUsage || !strings.Contains(out, "usage:") {
			t.Errorf("%q: exit code %d\n%s", args, code, out)
		}
	}
	if out, code := runRunner(t, "describe", "/does/not/exist"); code != exitFailed || !strings.Contains(out, "/does/not/exist") {
		t.Errorf("a missing file: exit code %d\n%s", code, out)
	}
}

func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	cmd := exec.CommandContext(testContext(t), os.Args[0], "compile", "--cache", dir, "--cache-key-fd", "3", guestFile(t))
	cmd.Env = []string{"PICKET_TEST_ROLE=runner", "HOME=" + workDir}
	key := keyPipe(t)
	defer key.Close()
	cmd.ExtraFiles = []*os.File{key}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := 0
	err := filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			files++
		}
		return err
	})
	if err != nil || files == 0 {
		t.Errorf("%d files in the cache, %v", files, err)
	}
}

// A cache that cannot be written costs time and nothing else.
func TestCacheThatCannotBeWritten(t *testing.T) {
	g := openGuest(t, runner.Config{Cache: "/dev/null/cache", Interpret: true})
	if plugins, err := runner.NewBackend(g).Describe(t.Context()); err != nil || len(plugins) != 1 {
		t.Errorf("%d plugins, %v", len(plugins), err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func openGuest(t *testing.T, cfg runner.Config) *runner.Guest {
	t.Helper()
	wasm, err := os.ReadFile(guestFile(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Memory, cfg.Log, cfg.Stderr = 64<<20, slog.New(slog.DiscardHandler), io.Discard
	cfg.Fatal = func(err error) { t.Errorf("fatal: %v", err) }
	g, err := runner.Open(t.Context(), wasm, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
