//go:build linux

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/batch"
	"github.com/picketwatch/picket/core/services/detect"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// ownDetector is a detector of this repository: the folder of its source, and how it runs.
type ownDetector struct{ source, runtime string }

func (d ownDetector) name() string { return filepath.Base(d.source) }

// The product's own detectors of flows, as the server runs them.
var ownDetectors = []ownDetector{
	{"plugins/detectors/portscan", pluginhost.RuntimeProcess}, {"plugins/detectors/anomaly", pluginhost.RuntimeProcess},
	{"plugins/detectors/beacon", pluginhost.RuntimeWASM},
}

// BenchmarkDetection shows a large capture to the product's own detectors through the plugin host, confined, as the server
// does: one batch after the other to each; several on their way; and from the memory that all share. One iteration is one
// capture. The unit is processor time per flow, of the host and of all plugins together.
func BenchmarkDetection(b *testing.B) {
	const captureRows, frameRows = 8 * inputRows, 512
	h, detectors := detectionHost(b, ownDetectors)
	var frames [][]byte
	for _, part := range flowInput("", frameRows).batches {
		frames = append(frames, encode(nil, part))
	}
	for _, way := range []string{"one by one", "several", "shared"} {
		b.Run(strings.ReplaceAll(way, " ", "-"), func(b *testing.B) {
			var list []detect.Detector
			var share detect.Share
			for _, d := range detectors {
				if way == "one by one" {
					list = append(list, oneByOne{d})
				} else {
					list = append(list, d)
				}
			}
			if way == "shared" {
				share = h.Share
			}
			analyse(b, list, share, frames, captureRows/inputRows) // what is done once is done then
			host, plugins := cpuTime(0), pluginTime(detectors)
			for b.Loop() {
				analyse(b, list, share, frames, captureRows/inputRows)
			}
			flows := float64(b.N) * captureRows
			b.ReportMetric(float64(cpuTime(0)-host)/flows, "host-ns/flow")
			b.ReportMetric(float64(pluginTime(detectors)-plugins)/flows, "plugins-ns/flow")
			b.ReportMetric(float64(b.Elapsed())/flows, "elapsed-ns/flow")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// oneByOne waits for the answer to each batch before it sends the next.
type oneByOne struct{ pluginhost.Detector }

func (d oneByOne) InspectAll(ctx context.Context, capture string, in <-chan *batch.Batch, sink sdk.FindingSink) error {
	for x := range in {
		err := d.Inspect(ctx, capture, x.Frame, sink)
		x.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func analyse(b *testing.B, detectors []detect.Detector, share detect.Share, frames [][]byte, times int) {
	b.Helper()
	run := detect.Start(b.Context(), "capture", detectors, 0, share)
	for range times {
		for _, f := range frames {
			if err := run.Frame(b.Context(), records.Parcel{Frame: f}); err != nil {
				b.Fatal(err)
			}
		}
	}
	if r := run.Close(); len(r.Failed) > 0 {
		b.Fatal(r.Failed)
	}
}

func pluginTime(detectors []pluginhost.Detector) (sum time.Duration) {
	for _, d := range detectors {
		sum += cpuTime(d.Status().PID)
	}
	return sum
}

func detectionHost(b *testing.B, own []ownDetector) (*pluginhost.Host, []pluginhost.Detector) {
	b.Helper()
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	shelf := ownShelf{}
	var list []pluginhost.Assignment
	for _, p := range own {
		m := shelf.build(b, dir, p)
		list = append(list, pluginhost.Assignment{Instance: p.name(), Plugin: m.ID, Version: m.Version, Runtime: p.runtime,
			Grants: slices.DeleteFunc(m.Permissions, func(p sdk.Permission) bool { return p.Optional })})
	}
	data, err := os.MkdirTemp("", "pd") //nolint:usetesting // b.TempDir is too long for a socket
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(data) })
	cfg := pluginhost.Config{Dir: data, RunDir: filepath.Join(data, "r"), Helpers: dir, Registry: shelf, Ceiling: policy.Default()}
	cfg.Deadlines.Start, cfg.Deadlines.Compile = time.Minute, 3*time.Minute
	h, err := pluginhost.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Stop(context.Background()) })
	if err := h.Apply(b.Context(), list); err != nil {
		b.Fatal(err)
	}
	for _, a := range list {
		if err := h.WaitReady(b.Context(), a.Instance); err != nil {
			b.Fatal(err)
		}
	}
	return h, h.Detectors()
}

// ownShelf hands out the product's own plugins as they were built here.
type ownShelf map[string]*client.Artifact

func (s ownShelf) build(b *testing.B, dir string, p ownDetector) registry.Manifest {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", p.source, "plugin.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	m, err := registry.ParseManifest(text)
	if err != nil {
		b.Fatal(err)
	}
	out := filepath.Join(dir, p.name()+"."+p.runtime)
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", out)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if p.runtime == pluginhost.RuntimeWASM {
		cmd.Args = append(cmd.Args, "-buildmode=c-shared")
		cmd.Env = append(cmd.Env, "GOOS=wasip1", "GOARCH=wasm")
	}
	cmd.Args = append(cmd.Args, "github.com/picketwatch/picket/"+p.source+"/cmd")
	if words, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, words)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		b.Fatal(err)
	}
	fd, err := unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "plugin")
	if _, err := f.Write(program); err != nil {
		b.Fatal(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
		b.Fatal(err)
	}
	sum := sha256.Sum256(program)
	s[m.ID] = &client.Artifact{ID: m.ID, Version: m.Version, Runtime: p.runtime, Digest: hex.EncodeToString(sum[:]), File: f,
		Descriptor: &registry.Descriptor{Manifest: *m}}
	return *m
}

func (s ownShelf) OpenVerified(_ context.Context, id, _ string) (*client.Artifact, error) {
	a := *s[id]
	var err error
	a.File, err = os.Open(fmt.Sprintf("/proc/self/fd/%d", a.File.Fd()))
	return &a, err
}
