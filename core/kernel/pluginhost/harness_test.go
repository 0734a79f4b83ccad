//go:build linux

package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/core/kernel/event"
	"github.com/picketwatch/picket/core/kernel/pluginhost/hosttest"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
	"github.com/picketwatch/picket/sdk/serve"
)

// patience bounds how long a test waits for what should happen soon; it is no budget.
const patience = 30 * time.Second

// TestMain lets the test binary be a plugin, and a host that is about to be killed.
func TestMain(m *testing.M) {
	if os.Getenv(lifelineEnv) != "" {
		switch _, mood := ownRelease(); mood {
		case "ask early":
			askEarly()
		case "grpc", "grpc hang", "grpc error":
			os.Unsetenv(host.RecordsEnv)
		case "narrow":
			narrow(false)
		case "narrow and slow":
			narrow(true)
		}
		serve.Main()
		return
	}
	if dir := os.Getenv("PLUGINHOST_PLAY_HOST"); dir != "" {
		playHost(dir)
		return
	}
	code := m.Run()
	programs.Remove()
	os.Exit(code)
}

var programs hosttest.Programs

func helpers(tb testing.TB) string {
	tb.Helper()
	return programs.Dir(tb)
}

// shelf is a Verifier that hands out the test binary.
type shelf struct {
	mu     sync.Mutex
	refuse map[string]error
	perms  []sdk.Permission
	limits registry.Limits
	pack   string
	opened int
	moods  map[string]string // by version: how it behaves; what is not in here is not on the node
}

// OpenRelease hands out the test binary with its version and mood written behind its end.
func (s *shelf) OpenRelease(_ context.Context, id, version, rt string) (*client.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	if err := s.refuse[id]; err != nil {
		return nil, err
	}
	if err := s.refuse[id+" "+version]; err != nil {
		return nil, err
	}
	mood, ok := s.moods[version]
	if !ok && version != "1.0.0" {
		return nil, &registry.Refusal{Plugin: id, Version: version, Reason: registry.NotInstalled, Err: fmt.Errorf("version %s is wanted, but 1.0.0 is installed on this node", version)}
	}
	f, digest, err := sealedSelf(version, mood)
	if err != nil {
		return nil, err
	}
	return s.artifact(id, version, rt, f, digest), nil
}

func (s *shelf) artifact(id, version, rt string, f *os.File, digest string) *client.Artifact {
	_, kind, _ := strings.Cut(id, "/")
	perms := s.perms
	if sdk.Kind(kind) == sdk.KindDetector && !sdk.Grants(perms).Has(sdk.CapFlowsRead) {
		perms = slices.Concat(perms, readsFlows)
	}
	d := &registry.Descriptor{Manifest: registry.Manifest{ID: id, Version: version, Kind: sdk.Kind(kind), Permissions: perms, Limits: s.limits, Pack: s.pack}}
	return &client.Artifact{ID: id, Version: version, Runtime: rt, Digest: digest, File: f, Descriptor: d}
}

func (s *shelf) set(id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse == nil {
		s.refuse = map[string]error{}
	}
	s.refuse[id] = err
}

func (s *shelf) OpenVerified(_ context.Context, id, rt string) (*client.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	if err := s.refuse[id]; err != nil {
		return nil, err
	}
	f, digest, err := sealedSelf("1.0.0", "")
	if err != nil {
		return nil, err
	}
	return s.artifact(id, "1.0.0", rt, f, digest), nil
}

var sealed struct {
	sync.Mutex
	files map[string]sealedFile // by trailer
}

type sealedFile struct {
	f      *os.File
	digest string
}

// trailerSize is how many bytes behind the end of the program say which version it is.
const trailerSize = 64

func trailerOf(version, mood string) string {
	t := "picket-test:" + version + ":" + mood + ":"
	return t + strings.Repeat(".", trailerSize-len(t))
}

// ownRelease is what the trailer of this program says.
func ownRelease() (version, mood string) {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", ""
	}
	b := make([]byte, trailerSize)
	if _, err := f.ReadAt(b, info.Size()-trailerSize); err != nil {
		return "", ""
	}
	parts := strings.Split(string(b), ":")
	if len(parts) < 4 || parts[0] != "picket-test" {
		return "", ""
	}
	return parts[1], parts[2]
}

// sealedSelf returns the test binary in a sealed memory file, opened for reading.
func sealedSelf(version, mood string) (*os.File, string, error) {
	sealed.Lock()
	defer sealed.Unlock()
	trailer := trailerOf(version, mood)
	s, ok := sealed.files[trailer]
	if !ok {
		data, err := programs.Read()
		if err != nil {
			return nil, "", err
		}
		data = append(data, trailer...)
		fd, err := unix.MemfdCreate("plugin", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return nil, "", err
		}
		s.f = os.NewFile(uintptr(fd), "plugin")
		if _, err := s.f.Write(data); err != nil {
			return nil, "", err
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL); err != nil {
			return nil, "", err
		}
		sum := sha256.Sum256(data)
		s.digest = hex.EncodeToString(sum[:])
		if sealed.files == nil {
			sealed.files = map[string]sealedFile{}
		}
		sealed.files[trailer] = s
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", s.f.Fd()))
	return f, s.digest, err
}

// fixture is a host with quick waits and what its instances told.
type fixture struct {
	*Host
	t      *testing.T
	shelf  *shelf
	events *event.Subscription[Status]
}

func newFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	sh := &shelf{}
	bus := event.New[Status]()
	cfg := Config{
		Dir: t.TempDir(), Helpers: helpers(t), Registry: sh, Ceiling: policy.Default(), Events: bus,
		Backoff: Backoffs{First: 10 * time.Millisecond, Base: 20 * time.Millisecond, Max: 100 * time.Millisecond},
		eager:   true, // how fast this machine is decides nothing
	}
	if change != nil {
		change(&cfg)
	}
	events := bus.Subscribe("test", 4096)
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		h.Stop(ctx)
		if t.Failed() {
			for _, st := range h.Instances() {
				t.Logf("%s: %s %s %v", st.Instance, st.State, st.Reason, st.LogTail)
			}
		}
	})
	return &fixture{h, t, sh, events}
}

// readsFlows is what detectors are granted that are granted nothing else.
var readsFlows = []sdk.Permission{{Cap: sdk.CapFlowsRead}}

func (f *fixture) apply(list ...Assignment) {
	f.t.Helper()
	for i, a := range list {
		if a.Grants == nil && (strings.HasSuffix(a.Plugin, "/detector") || a.Plugin == "test/guest") {
			list[i].Grants = readsFlows
		}
	}
	if err := f.Apply(f.t.Context(), list); err != nil {
		f.t.Fatal(err)
	}
}

// assignment of test/collector in a mood.
func moodyAssignment(instance, mode string) Assignment {
	cfg, _ := json.Marshal(map[string]string{"mode": mode})
	return Assignment{Instance: instance, Plugin: "test/collector", Version: "1.0.0", Runtime: RuntimeProcess, Config: cfg}
}

// until waits for a status that fits.
func (f *fixture) until(instance string, what string, fits func(Status) bool) Status {
	f.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		st, ok := f.Instance(instance)
		if ok && fits(st) {
			return st
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: waited for %s; it is %s (%s), log %v", instance, what, st.State, st.Reason, st.LogTail)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (f *fixture) untilState(instance string, s State) Status {
	f.t.Helper()
	return f.until(instance, string(s), func(st Status) bool { return st.State == s })
}

func (f *fixture) collector(instance string) Collector {
	f.t.Helper()
	for _, c := range f.Collectors() {
		if c.Instance() == instance {
			return c
		}
	}
	f.t.Fatalf("no collector %s", instance)
	return Collector{}
}

// collect makes one collection and returns what came.
func (f *fixture) collect(instance string) ([]sdk.Sample, error) {
	f.t.Helper()
	var sink gathered[sdk.Sample]
	err := f.collector(instance).Collect(f.t.Context(), sdk.CollectRequest{Time: time.Now()}, &sink)
	return sink.list, err
}

type gathered[T any] struct {
	mu   sync.Mutex
	list []T
}

func (g *gathered[T]) add(v T) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.list = append(g.list, v)
	return nil
}

func (g *gathered[T]) Sample(s T) error   { return g.add(s) }
func (g *gathered[T]) Finding(s T) error  { return g.add(s) }
func (g *gathered[T]) Sighting(s T) error { return g.add(s) }

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func waitGone(t *testing.T, pids ...int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
}

// groupOf returns the processes whose group pid leads, without pid.
func groupOf(pid int) []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		var p, pgrp int
		if _, err := fmt.Sscan(e.Name(), &p); err != nil || p == pid {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		var state string
		var ppid int
		if n, _ := fmt.Sscan(rest, &state, &ppid, &pgrp); n == 3 && pgrp == pid {
			out = append(out, p)
		}
	}
	return out
}
