package confine

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk/host"
)

// startPlugin starts a plugin as the plugin host does: with go-plugin, mutual TLS and a lifeline.
func startPlugin(tb testing.TB, r Request, spec launch.Spec, program *os.File, more ...*os.File) (*host.Process, Report) {
	tb.Helper()
	watch, hold, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	defer watch.Close()
	plan, err := New(r)
	if err != nil {
		tb.Fatal(err)
	}
	if err := plan.Prepare(); err != nil {
		tb.Fatal(err)
	}
	spec.Parent, spec.Lifeline = os.Getpid(), 4
	cmd, err := plan.Command(filepath.Join(programs, "picket-launch"), spec, append([]*os.File{program, watch}, more...))
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Env = append(plan.Env(), host.LifelineEnv+"=4")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	p, err := host.Start(ctx, host.Config{
		Name: "plugin", Cmd: cmd, SocketDir: r.SocketDir, SocketRoot: plan.SocketRoot, StartTimeout: 15 * time.Second,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		_, why := plan.Report(ctx)
		tb.Fatal(err, why)
	}
	report, err := plan.Report(ctx)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		hold.Close()
		p.Kill()
		if err := plan.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p, report
}

func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "s") //nolint:usetesting // the path of a socket has a bound
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestLevelPlugin starts a small plugin, native and as a guest, and talks to it.
func TestLevelPlugin(t *testing.T) {
	level := best(t)
	t.Run("process", func(t *testing.T) {
		p, report := startPlugin(t, request(t, ""), launch.Spec{Name: "plugin", Program: "/proc/self/fd/3"}, openProgram(t, "collector"))
		describe(t, p, level, report)
	})
	t.Run("guest", func(t *testing.T) {
		module, err := os.ReadFile(filepath.Join(programs, "collector.wasm"))
		must(t, err)
		g := guest(t, module)
		must(t, g.Compile(t.Context()))
		for range 2 { // the second one compiles nothing either
			r := request(t, "")
			r.Runtime, r.Binds = registry.RuntimeWASM, []Bind{{Path: g.Entry()}}
			key, give, err := os.Pipe()
			must(t, err)
			_, _ = give.Write(g.Key)
			give.Close()
			defer key.Close()
			spec := launch.Spec{
				Name: "picket-wasm", Program: filepath.Join(programs, "picket-wasm"), Keep: []int{3, 5},
				Args: []string{"--guest-fd", "3", "--cache", g.CacheDir(), "--cache-key-fd", "5"},
			}
			began := time.Now()
			p, report := startPlugin(t, r, spec, g.File, key)
			t.Log("ready after", time.Since(began))
			describe(t, p, level, report)
		}
	})
}

func describe(t *testing.T, p *host.Process, level Level, report Report) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	list, err := p.Describe(ctx)
	must(t, err)
	if len(list) != 1 || report.Level != level {
		t.Errorf("%+v at %+v", list, report)
	}
}

var benchCeiling = policy.Default()

// BenchmarkStart measures what confinement adds to the start of a plugin, until it answers.
func BenchmarkStart(b *testing.B) {
	for _, level := range []Level{LevelC, ""} {
		name := Detect().Level
		if level != "" {
			name = level
		}
		b.Run(fmt.Sprint(name), func(b *testing.B) {
			for b.Loop() {
				r := Request{Instance: "b", Runtime: "process", Limits: Defaults("collector"), Ceiling: benchCeiling, Most: level, AnyLevel: true, SocketDir: shortDir(b)}
				f, err := os.Open(filepath.Join(programs, "collector"))
				if err != nil {
					b.Fatal(err)
				}
				p, _ := startPlugin(b, r, launch.Spec{Name: "plugin", Program: "/proc/self/fd/3"}, f)
				b.StopTimer()
				p.Kill()
				f.Close()
				b.StartTimer()
			}
		})
	}
}
