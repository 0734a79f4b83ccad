package rustsdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// patience bounds every wait; a guest may have to be compiled on a busy machine.
const patience = 3 * time.Minute

const example = "../../examples/detector-rust"

var workDir string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "picket-rust-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	workDir = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// toolchain skips the test when this machine has no Rust for guests.
func toolchain(tb testing.TB) {
	tb.Helper()
	if testing.Short() {
		tb.Skip("builds whole programs")
	}
	for _, program := range []string{"cargo", "rustc"} {
		if _, err := exec.LookPath(program); err != nil {
			tb.Skipf("no Rust here: %v", err)
		}
	}
	out, err := exec.Command("rustc", "--print", "target-libdir", "--target", "wasm32-unknown-unknown").Output()
	if _, statErr := os.Stat(strings.TrimSpace(string(out))); err != nil || statErr != nil {
		tb.Skip("this Rust cannot build for wasm32-unknown-unknown; rustup target add wasm32-unknown-unknown")
	}
}

// build runs the build of the example in a copy of it and of the crate, below dir, and returns the guest.
func build(dir string) ([]byte, error) {
	for from, to := range map[string]string{example: "examples/detector-rust", "../../sdk/rust": "sdk/rust"} {
		if err := copyTree(from, filepath.Join(dir, to)); err != nil {
			return nil, err
		}
	}
	dir = filepath.Join(dir, "examples", "detector-rust")
	cmd := exec.Command("sh", "build.sh")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+filepath.Join(dir, "target"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the guest: %w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "plugin.wasm"))
}

// copyTree copies the sources below from.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == "target" || d.Name() == ".picket" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil || strings.HasSuffix(path, ".wasm") {
			return err
		}
		return os.WriteFile(filepath.Join(to, rel), data, 0o644)
	})
}

var buildGuest = sync.OnceValues(func() (string, error) {
	wasm, err := build(filepath.Join(workDir, "one"))
	if err != nil {
		return "", err
	}
	file := filepath.Join(workDir, "plugin.wasm")
	return file, os.WriteFile(file, wasm, 0o644)
})

var buildRunner = sync.OnceValues(func() (string, error) {
	file := filepath.Join(workDir, "picket-wasm")
	cmd := exec.Command("go", "build", "-o", file, "../../cmd/picket-wasm")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the runner: %w\n%s", err, out)
	}
	return file, nil
})

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// start runs the guest in the runner.
func start(t *testing.T, log io.Writer) *host.Process {
	t.Helper()
	toolchain(t)
	guest, err := buildGuest()
	if err != nil {
		t.Fatal(err)
	}
	return startGuest(t, guest, log)
}

func startGuest(tb testing.TB, guest string, log io.Writer) *host.Process {
	tb.Helper()
	runner, err := buildRunner()
	if err != nil {
		tb.Fatal(err)
	}
	f, err := os.Open(guest)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	dir, err := os.MkdirTemp("", "pk") //nolint:usetesting // tb.TempDir is too long for a socket
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	cmd := exec.Command(runner, "--guest-fd", "3", "--memory", "32")
	cmd.ExtraFiles = []*os.File{f}
	p, err := host.Start(testContext(tb), host.Config{Name: "rust", Cmd: cmd, SocketDir: dir, StartTimeout: patience,
		Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Kill)
	return p
}

func configure(t *testing.T, p *host.Process, config string) *host.Instance {
	t.Helper()
	i, err := p.Configure(testContext(t), host.InstanceConfig{Instance: "i", Plugin: "acme/slow-transfer", Config: []byte(config)})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

type findings []sdk.Finding

func (f *findings) Finding(v sdk.Finding) error {
	*f = append(*f, v)
	return nil
}

// realFlows are those of the capture that comes with Picket.
func realFlows(t *testing.T) []sdk.Flow {
	t.Helper()
	var flows []sdk.Flow
	_, err := traffic.AnalyzeFile(testContext(t), "../../examples/datasets/first-light/first-light.pcap", traffic.Options{}, nil, func(batch []sdk.Flow) error {
		for _, f := range batch {
			f.Packets = append([]uint64(nil), f.Packets...)
			flows = append(flows, f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return flows
}

// judge lets an instance look at flows in batches of the size, and then end the capture.
func judge(t *testing.T, i *host.Instance, flows []sdk.Flow, size int) findings {
	t.Helper()
	var out findings
	for rest := flows; len(rest) > 0; {
		n := min(size, len(rest))
		if err := i.Inspect(testContext(t), "c", records.AppendFlows(nil, rest[:n]), &out); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := i.Flush(testContext(t), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSameFindingsAsInGo(t *testing.T) {
	p := start(t, io.Discard)
	loose := slowTransfer{MinBytes: 200, MinDuration: config.Duration(time.Millisecond), MaxRate: 1e6, Many: 2}
	text, err := json.Marshal(loose)
	if err != nil {
		t.Fatal(err)
	}
	for name, flows := range map[string][]sdk.Flow{"real": realFlows(t), "sample": sdktest.SampleFlows()} {
		t.Run(name, func(t *testing.T) {
			want := loose.judge(flows)
			rules := map[string]int{}
			for _, f := range want {
				rules[f.Rule]++
			}
			if rules["transfer"] < 5 || rules["many"] < 1 {
				t.Fatalf("%d flows give findings %v: this compares nothing", len(flows), rules)
			}
			for _, size := range []int{1, records.BatchGuest} {
				i := configure(t, p, string(text))
				compare(t, judge(t, i, flows, size), want)
				if err := i.Stop(testContext(t)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// compare wants equal findings, numbers to 1e-9.
func compare(t *testing.T, got, want findings) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d findings, want %d", len(got), len(want))
	}
	for i := range got {
		g, w := got[i], want[i]
		for name, v := range w.Features {
			if diff := math.Abs(g.Features[name] - v); !(diff <= 1e-9*math.Max(1, math.Abs(v))) {
				t.Errorf("finding %d, %s: %v, want %v", i, name, g.Features[name], v)
			}
		}
		if len(g.Features) != len(w.Features) {
			t.Errorf("finding %d has features %v", i, g.Features)
		}
		g.Features, w.Features = nil, nil
		if len(g.Packets)+len(w.Packets) == 0 {
			g.Packets, w.Packets = nil, nil
		}
		if len(g.Flows)+len(w.Flows) == 0 {
			g.Flows, w.Flows = nil, nil
		}
		if !reflect.DeepEqual(g, w) {
			t.Fatalf("finding %d\n got %+v\nwant %+v", i, g, w)
		}
	}
}

func TestSameDescriptionAsInGo(t *testing.T) {
	p := start(t, io.Discard)
	all, err := p.Describe(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || all[0].ID != "acme/slow-transfer" || all[0].Kind != sdk.KindDetector || !all[0].Subscription.Flows || len(all[0].Rules) != 2 {
		t.Fatalf("got %+v", all)
	}
	want, err := config.Schema(&slowTransfer{})
	if err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	if err := json.Compact(&a, all[0].ConfigSchema); err != nil {
		t.Fatal(err)
	}
	if err := json.Compact(&b, want); err != nil {
		t.Fatal(err)
	}
	if a.String() != b.String() {
		t.Errorf("the schema\n got %s\nwant %s", a.String(), b.String())
	}
}

func TestBadConfigurations(t *testing.T) {
	p := start(t, io.Discard)
	for text, want := range map[string]string{
		`{"min_byte": 1}`:             `"min_byte": unknown key`,
		`{"min_bytes": 0}`:            "min_bytes: it must be at least 1",
		`{"min_duration": "1"}`:       "min_duration: must be a duration",
		`{"many": 1, "many": 2}`:      "twice",
		`{"many": -1}`:                "many: must be a whole number from 0 to 4294967295",
		`{"max_rate": "fast"}`:        "max_rate: must be a finite number",
		`{"many": 4294967296}`:        "many: must be a whole number",
		`{"min_duration": "x\u0000"}`: "min_duration",
	} {
		_, err := p.Configure(testContext(t), host.InstanceConfig{Instance: "i", Plugin: "acme/slow-transfer", Config: []byte(text)})
		if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	if _, err := p.Configure(testContext(t), host.InstanceConfig{Instance: "i", Plugin: "acme/other"}); sdk.ClassOf(err) != sdk.InvalidConfig {
		t.Errorf("a plugin that is not there: %v", err)
	}
}

// What a guest checks itself. The checksum is not part of it: on one machine nobody computes it again (PLANE.md).
func TestHostileFrames(t *testing.T) {
	p := start(t, io.Discard)
	i := configure(t, p, `{}`)
	files, err := filepath.Glob("../../sdk/records/testdata/vectors/refused-*.bin")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d vectors, %v", len(files), err)
	}
	for _, file := range files {
		if filepath.Base(file) == "refused-checksum.bin" {
			continue
		}
		frame, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if records.SchemaOf(frame).Facts() != "" {
			continue // they are checked when the plugin asks for them, and this one asks for none
		}
		if err := i.Inspect(testContext(t), "c", frame, &findings{}); err == nil {
			t.Errorf("%s was taken", file)
		}
	}
	if _, err := i.Health(testContext(t)); err != nil {
		t.Errorf("the guest is not well after that: %v", err)
	}
}

// The same source gives the same bytes in another folder.
func TestReproducible(t *testing.T) {
	toolchain(t)
	one, err := buildGuest()
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(one)
	if err != nil {
		t.Fatal(err)
	}
	second, err := build(filepath.Join(t.TempDir(), "somewhere", "else entirely"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("two folders gave two guests, of %d and %d bytes", len(first), len(second))
	}
	if len(first) > 300<<10 {
		t.Errorf("the guest has %d bytes", len(first))
	}
}

// The crate passes its own tests, the vectors that Go wrote among them.
func TestCrate(t *testing.T) {
	toolchain(t)
	vectors, err := filepath.Abs("../../sdk/records/testdata/vectors")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), "cargo", "test", "--quiet", "--locked", "--offline")
	cmd.Dir = "../../sdk/rust"
	cmd.Env = append(os.Environ(), "CARGO_TARGET_DIR="+filepath.Join(workDir, "crate"), "PICKET_VECTORS="+vectors)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
