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
)

// ownHostEnv makes this program a host with plugins, which waits to be killed.
const ownHostEnv = "PICKET_BENCH_PROGRAMS"

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
	host := startHost(b, programs)
	killed := time.Now()
	_ = host.cmd.Process.Kill()
	for _, pid := range host.plugins {
		for syscall.Kill(pid, 0) == nil {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil) // it is ours once the host is gone
			if time.Since(killed) > time.Minute {
				b.Fatalf("process %d is still there", pid)
			}
			time.Sleep(time.Millisecond)
		}
	}
	took := float64(time.Since(killed).Microseconds()) / 1000
	host.end()
	return took
}

// ownHost is a host of twenty plugins in a process of its own.
type ownHost struct {
	cmd     *exec.Cmd
	dir     string
	plugins []int
}

// startHost returns when all plugins are ready.
func startHost(b *testing.B, programs string) *ownHost {
	b.Helper()
	h := &ownHost{cmd: exec.Command("/proc/self/exe")}
	h.cmd.Env = append(os.Environ(), ownHostEnv+"="+programs)
	h.cmd.Stderr = os.Stderr
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 21 {
		h.end()
		b.Fatalf("the host says %q, %v", line, err)
	}
	h.dir = words[0]
	for _, word := range words[1:] {
		pid, err := strconv.Atoi(word)
		if err != nil {
			h.end()
			b.Fatal(err)
		}
		h.plugins = append(h.plugins, pid)
	}
	return h
}

// end leaves nothing of it. Its plugins end by themselves.
func (h *ownHost) end() {
	_ = h.cmd.Process.Kill()
	_ = h.cmd.Wait()
	if h.dir != "" {
		os.RemoveAll(h.dir)
	}
}

// playHost is what startHost starts. It does what picketd does with a host that has nothing to do.
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
	for range time.Tick(pluginhost.LedgerEvery) {
		n.LedgerSamples()
	}
	return nil
}
