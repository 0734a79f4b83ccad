//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// orphansEnv makes this program a host with plugins, which waits to be killed.
const orphansEnv = "PICKET_BENCH_PROGRAMS"

var flowsRead = []sdk.Permission{{Cap: sdk.CapFlowsRead}}

// shelf is a Verifier that gives the benchmarks' detector, as the registry's client does: from memory that nobody can
// change, one for all who run it.
type shelf struct {
	dir string

	mu   sync.Mutex
	held map[string]sealed // by name
}

type sealed struct {
	f      *os.File
	digest string
}

func (s *shelf) OpenVerified(_ context.Context, id, runtime string) (*client.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := map[string]string{pluginhost.RuntimeProcess: "detector", pluginhost.RuntimeWASM: "guest.wasm"}[runtime]
	have, ok := s.held[name]
	if !ok {
		var err error
		if have, err = seal(filepath.Join(s.dir, name)); err != nil {
			return nil, err
		}
		s.held[name] = have
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", have.f.Fd()))
	if err != nil {
		return nil, err
	}
	m := registry.Manifest{ID: id, Version: "1.0.0", Kind: sdk.KindDetector, Permissions: flowsRead, Limits: registry.Limits{Memory: "128Mi"}}
	return &client.Artifact{ID: id, Version: "1.0.0", Runtime: runtime, Digest: have.digest, File: f, Descriptor: &registry.Descriptor{Manifest: m}}, nil
}

func seal(path string) (sealed, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return sealed{}, err
	}
	fd, err := unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return sealed{}, err
	}
	f := os.NewFile(uintptr(fd), "plugin")
	_, err = f.Write(data)
	if _, sealErr := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil || sealErr != nil {
		return sealed{}, errors.Join(err, sealErr, f.Close())
	}
	sum := sha256.Sum256(data)
	return sealed{f, hex.EncodeToString(sum[:])}, nil
}

// node is a plugin host as picketd has it.
type node struct {
	*pluginhost.Host
	dir string
}

func newNode(programs string, most confine.Level) (*node, error) {
	dir, err := os.MkdirTemp("", "pb")
	if err != nil {
		return nil, err
	}
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\nminimum_level: C\n")) // also measured without confinement
	if err != nil {
		return nil, err
	}
	h, err := pluginhost.New(pluginhost.Config{Dir: dir, RunDir: filepath.Join(dir, "r"), Helpers: programs, Registry: &shelf{dir: programs, held: map[string]sealed{}}, Ceiling: ceiling, MostLevel: most})
	return &node{h, dir}, err
}

func (n *node) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n.Stop(ctx)
	return os.RemoveAll(n.dir)
}

// run runs so many instances of the detector and waits until all are ready.
func (n *node) run(ctx context.Context, count int, plugin, runtime string) ([]pluginhost.Status, error) {
	var list []pluginhost.Assignment
	for i := range count {
		list = append(list, pluginhost.Assignment{Instance: "i" + strconv.Itoa(i), Plugin: plugin, Version: "1.0.0", Runtime: runtime, Grants: flowsRead})
	}
	if err := n.Apply(ctx, list); err != nil {
		return nil, err
	}
	for _, a := range list {
		if err := n.WaitReady(ctx, a.Instance); err != nil {
			return nil, err
		}
	}
	return n.Instances(), nil
}

func openNode(b *testing.B, most confine.Level) *node {
	b.Helper()
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	n, err := newNode(dir, most)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := n.stop(); err != nil {
			b.Error(err)
		}
	})
	return n
}

func (n *node) mustRun(b *testing.B, count int, plugin, runtime string) []pluginhost.Status {
	b.Helper()
	all, err := n.run(b.Context(), count, plugin, runtime)
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// BenchmarkHostStart measures the time from an assignment to an instance that works, verified, confined and configured.
func BenchmarkHostStart(b *testing.B) {
	for _, runtime := range []string{pluginhost.RuntimeProcess, pluginhost.RuntimeWASM} {
		b.Run(runtime, func(b *testing.B) {
			n := openNode(b, "")
			n.mustRun(b, 1, detectors.Reference, runtime) // fills the cache
			var took []float64
			for b.Loop() {
				if err := n.Apply(b.Context(), nil); err != nil {
					b.Fatal(err)
				}
				for len(n.Instances()) > 0 {
					time.Sleep(5 * time.Millisecond)
				}
				began := time.Now()
				n.mustRun(b, 1, detectors.Reference, runtime)
				took = append(took, float64(time.Since(began).Microseconds())/1000)
			}
			v, _ := median(took)
			b.ReportMetric(v, "ms")
		})
	}
}

// BenchmarkRestart measures the time from the end of a plugin to its working again, the first time it ends.
func BenchmarkRestart(b *testing.B) {
	var took []float64
	for b.Loop() {
		n := openNode(b, "")
		old := n.mustRun(b, 1, detectors.Reference, pluginhost.RuntimeProcess)[0].PID
		killed := time.Now()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			b.Fatal(err)
		}
		for {
			if st, ok := n.Instance("i0"); ok && st.State == pluginhost.Ready && st.PID != old {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		took = append(took, float64(time.Since(killed).Milliseconds()))
	}
	v, _ := median(took)
	b.ReportMetric(v, "ms")
}

// BenchmarkIdle measures what twenty instances of one program cost that have nothing to do: their memory, each page
// divided by those who share it, and the processor time of the host.
func BenchmarkIdle(b *testing.B) {
	n := openNode(b, "")
	all := n.mustRun(b, 20, detectors.Light, pluginhost.RuntimeProcess)
	time.Sleep(7 * time.Second) // what the starts left over, and the first look at everybody
	cpu, began := cpuTime(0), time.Now()
	for b.Loop() {
		time.Sleep(20 * time.Second) // whatever is done now and then is done in that time
	}
	b.ReportMetric(float64((cpuTime(0)-cpu).Microseconds())/1000/time.Since(began).Seconds(), "cpu-ms/s")
	var total float64
	for _, st := range all {
		total += pss(b, st.PID)
	}
	b.ReportMetric(total/float64(len(all)), "PSS-MB")
}

// pss is the proportional set size of a process in MB.
func pss(b *testing.B, pid int) float64 {
	b.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kb float64
		if n, _ := fmt.Sscanf(line, "Pss: %f kB", &kb); n == 1 {
			return kb / 1024
		}
	}
	b.Fatalf("no Pss of %d", pid)
	return 0
}

// BenchmarkOrphans measures the time from the end of a host to that of the last of its twenty plugins. This program takes
// them in and collects them at once, as the first process of a machine should: not every one does within a second.
func BenchmarkOrphans(b *testing.B) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	dir, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	var took []float64
	for b.Loop() {
		took = append(took, orphans(b, dir))
	}
	v, _ := median(took)
	b.ReportMetric(v, "ms")
}

func orphans(b *testing.B, programs string) float64 {
	b.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), orphansEnv+"="+programs)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 21 {
		_ = cmd.Process.Kill()
		b.Fatalf("the host says %q, %v", line, err)
	}
	defer os.RemoveAll(words[0])
	killed := time.Now()
	_ = cmd.Process.Kill()
	for _, word := range words[1:] {
		pid, err := strconv.Atoi(word)
		if err != nil {
			b.Fatal(err)
		}
		for syscall.Kill(pid, 0) == nil {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // it is ours once the host is gone
			if time.Since(killed) > time.Minute {
				b.Fatalf("process %d is still there", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
	took := float64(time.Since(killed).Microseconds()) / 1000
	_ = cmd.Wait()
	return took
}

// playHost is the host that orphans kills.
func playHost(programs string) error {
	n, err := newNode(programs, "")
	if err != nil {
		return err
	}
	all, err := n.run(context.Background(), 20, detectors.Light, pluginhost.RuntimeProcess)
	if err != nil {
		return err
	}
	fmt.Print(n.dir)
	for _, st := range all {
		fmt.Print(" ", st.PID)
	}
	fmt.Println()
	select {}
}

// BenchmarkConfinement compares one detector as far confined as this machine can with the same as a bare process, a
// sample of the one after a sample of the other.
func BenchmarkConfinement(b *testing.B) {
	in := flowInput(detectors.Reference, records.BatchProcess)
	frames := make([][]byte, len(in.batches))
	for i := range frames {
		frames[i] = records.AppendLocalFlows(nil, in.batches[i].Flows)
	}
	cost := func(level confine.Level) func() float64 {
		n := openNode(b, level)
		pid := n.mustRun(b, 1, detectors.Reference, pluginhost.RuntimeProcess)[0].PID
		d := n.Detectors()[0]
		return func() float64 {
			cpu, sent := cpuTime(0)+cpuTime(pid), 0
			for began := time.Now(); time.Since(began) < sampleTime; sent++ {
				if err := d.Inspect(b.Context(), "c", frames[sent%len(frames)], &found{}); err != nil {
					b.Fatal(err)
				}
			}
			return float64(cpuTime(0)+cpuTime(pid)-cpu) / float64(sent*in.rows)
		}
	}
	bare, confined := cost(confine.LevelC), cost("")
	bare()
	confined()
	var ratios, costs []float64
	for b.Loop() {
		before, c, after := bare(), confined(), bare()
		ratios, costs = append(ratios, 2*c/(before+after)), append(costs, c)
	}
	ratio, _ := median(ratios)
	ns, _ := median(costs)
	b.ReportMetric(ratio, "×")
	b.ReportMetric(ns, "cpu-ns/record")
}
