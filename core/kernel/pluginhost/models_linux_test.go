//go:build linux

package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/policy"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

const (
	readerID = "picket/reader"
	wordsID  = "picket/words"
	secretID = "picket/secret"
)

func init() {
	sdk.Register(sdk.Plugin{ID: readerID, Kind: sdk.KindCollector, Summary: "Says what it reads in its model.",
		New: func() sdk.Instance { return &reader{} }})
}

// reader reads its model at each collection. Words that begin with "bad at" have it fail there.
type reader struct {
	cfg struct {
		Attack bool `json:"attack" doc:"Try what a model must not allow."`
	}
	host   sdk.Host
	rounds int
}

func (r *reader) Config() any { return &r.cfg }

func (r *reader) words() (*sdk.Model, string, error) {
	m, err := r.host.Model(wordsID)
	if err != nil {
		return nil, "", err
	}
	data, err := m.Bytes()
	return m, string(data), err
}

func (r *reader) Start(_ context.Context, h sdk.Host) error {
	r.host = h
	m, words, err := r.words()
	if err != nil {
		return err
	}
	defer m.Close()
	if words == "bad at start" {
		return errors.New("I cannot read this")
	}
	return nil
}

func (r *reader) Snapshot(context.Context) ([]byte, error)      { return []byte{byte(r.rounds)}, nil }
func (r *reader) Restore(_ context.Context, state []byte) error { r.rounds = int(state[0]); return nil }
func (r *reader) Health(context.Context) error                  { return nil }

func (r *reader) Collect(_ context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	m, words, err := r.words()
	if err != nil {
		return err
	}
	defer m.Close()
	if words == "bad at work" {
		os.Exit(3)
	}
	r.rounds++
	labels := map[string]string{"words": words, "version": m.Version, "digest": m.Digest}
	if r.cfg.Attack {
		for name, try := range attacksOnModels {
			labels[name] = fmt.Sprint(try(r.host, m))
		}
		after, err := m.Bytes()
		if err != nil {
			return err
		}
		labels["after"] = string(after)
	}
	return sink.Sample(sdk.Sample{Metric: "reader.rounds", Type: sdk.Gauge, Value: float64(r.rounds), Labels: labels, Time: time.Now()})
}

// attacksOnModels are what a plugin tries; an error says that it failed.
var attacksOnModels = map[string]func(sdk.Host, *sdk.Model) error{
	"write": func(_ sdk.Host, m *sdk.Model) error {
		_, err := m.Closer.(*os.File).WriteAt([]byte("lies"), 0)
		return err
	},
	"truncate": func(_ sdk.Host, m *sdk.Model) error { return m.Closer.(*os.File).Truncate(1) },
	"open for writing": func(_ sdk.Host, m *sdk.Model) error {
		f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", m.Closer.(*os.File).Fd()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteAt([]byte("lies"), 0)
		return err
	},
	"map for writing": func(_ sdk.Host, m *sdk.Model) error {
		_, err := unix.Mmap(int(m.Closer.(*os.File).Fd()), 0, 4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return err
	},
	"punch a hole": func(_ sdk.Host, m *sdk.Model) error {
		return unix.Fallocate(int(m.Closer.(*os.File).Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4)
	},
	"another's": func(h sdk.Host, _ *sdk.Model) error {
		_, err := h.Model(secretID)
		return err
	},
	"a plugin's": func(h sdk.Host, _ *sdk.Model) error {
		_, err := h.Model(readerID)
		return err
	},
	"a path as a model": func(h sdk.Host, _ *sdk.Model) error {
		_, err := h.Model("/etc/hostname")
		return err
	},
	"a model as a path": func(h sdk.Host, _ *sdk.Model) error {
		_, err := h.Open(secretID)
		return err
	},
}

func words(version, text string) registrytest.Plugin {
	return registrytest.Plugin{ID: wordsID, Version: version, Kind: sdk.KindData, File: []byte(text)}
}

// library is a host over a real registry with the reader and its model in it.
type library struct {
	*fixture
	registry *registrytest.Registry
	client   *client.Client
	dir      string // of the node
}

// newLibrary installs the first release of the reader with the words.
func newLibrary(t *testing.T, text string) *library {
	t.Helper()
	helpers(t)
	program, err := programs.Read()
	if err != nil {
		t.Fatal(err)
	}
	schema, err := config.Schema((&reader{}).Config())
	if err != nil {
		t.Fatal(err)
	}
	l := &library{registry: registrytest.New(t), dir: filepath.Join(t.TempDir(), "node")}
	l.registry.Publish(t, words("1.0.0", text),
		registrytest.Plugin{ID: secretID, Kind: sdk.KindData, File: []byte("the secret of another plugin")},
		registrytest.Plugin{ID: readerID, Process: append(program, trailerOf("1.0.0", "")...), Requires: []registry.Requirement{{Plugin: wordsID, Version: "^1"}},
			Schema: schema})
	l.client, err = client.Open(client.Config{Dir: l.dir, Base: l.registry.Dir, RootFile: l.registry.RootFile(), AllowDevelopment: true, Now: l.registry.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.client.Close() })
	l.fixture = newFixture(t, func(c *Config) { c.Registry = l.client; c.MaxCrashes = 20 })
	l.install(readerID, "")
	l.install(secretID, "")
	return l
}

func (l *library) install(id, version string) {
	l.t.Helper()
	p, err := l.client.Plan(l.t.Context(), []client.Want{{ID: id, Version: version}}, client.PlanOptions{Keep: true})
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.client.InstallAll(l.t.Context(), p, nil); err != nil {
		l.t.Fatal(err)
	}
}

// next publishes and installs another release of the words and tells the host.
func (l *library) next(version, text string) {
	l.t.Helper()
	l.registry.Publish(l.t, words(version, text))
	if err := l.client.Refresh(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
	l.install(wordsID, version)
	l.Recheck()
}

func (l *library) start(config string) {
	l.t.Helper()
	l.apply(Assignment{Instance: "r", Plugin: readerID, Version: "1.0.0", Runtime: RuntimeProcess, Config: []byte(config)})
}

// reads collects once and returns the round and what was said.
func (l *library) reads() (int, map[string]string) {
	l.t.Helper()
	got, err := l.collect("r")
	if err != nil || len(got) != 1 {
		l.t.Fatalf("%d samples, %v", len(got), err)
	}
	return int(got[0].Value), got[0].Labels
}

func (l *library) untilUpgrade(what UpgradeState) Status {
	l.t.Helper()
	return l.until("r", string(what), func(st Status) bool { return st.Upgrade != nil && st.Upgrade.State == what })
}

// A plugin reads the model that was installed with it, and the chain of what it rests on names it.
func TestModelIsRead(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	l.untilState("r", Ready)
	_, said := l.reads()
	if want := registry.Digest([]byte("first")); said["words"] != "first" || said["version"] != "1.0.0" || said["digest"] != want {
		t.Errorf("it read %v", said)
	}
	e, err := l.Explain("r")
	if err != nil || len(e.Models) != 1 {
		t.Fatalf("%+v, %v", e.Models, err)
	}
	in, _ := l.client.Installed(wordsID)
	if m := e.Models[0]; m.ID != wordsID || m.Requires != "^1" || m.Version != "1.0.0" || m.Digest != said["digest"] || m.Descriptor != in.Locked.Descriptor || len(m.KeyIDs) == 0 {
		t.Errorf("explained as %+v", m)
	}
}

// Another release of a model takes over like another version of the plugin: beside, with its state, and on probation.
func TestModelIsExchanged(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	before := l.untilState("r", Ready)
	l.reads()
	l.next("1.1.0", "second")
	after := l.untilUpgrade(UpgradeProbation)
	if u := after.Upgrade; u.From != wordsID+" 1.0.0" || u.To != wordsID+" 1.1.0" || after.PID == before.PID || after.Version != "1.0.0" || after.Previous != "" {
		t.Errorf("it says %+v of process %d, previous %q", u, after.PID, after.Previous)
	}
	if round, said := l.reads(); said["words"] != "second" || round != 2 {
		t.Errorf("round %d read %v", round, said)
	}
	l.Recheck()                                    // nothing is new
	l.client.Prefer(t.Context(), wordsID, "1.0.0") //nolint:errcheck // the wait tells
	l.Recheck()
	l.until("r", "the way back", func(st Status) bool { return st.Upgrade.To == wordsID+" 1.0.0" && st.Upgrade.State == UpgradeProbation })
	if round, said := l.reads(); said["words"] != "first" || round != 3 {
		t.Errorf("round %d read %v", round, said)
	}
}

// A model that the plugin cannot start with changes nothing, and is not tried again; the one after it is.
func TestModelThatDoesNotTakeOver(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	before := l.untilState("r", Ready)
	l.next("1.1.0", "bad at start")
	st := l.untilUpgrade(UpgradeFailed)
	if st.PID != before.PID || !strings.Contains(st.Upgrade.Reason, "I cannot read this") {
		t.Errorf("%+v of process %d", st.Upgrade, st.PID)
	}
	l.Recheck()
	if err := l.Restart(t.Context(), "r"); err != nil {
		t.Fatal(err)
	}
	if _, said := l.reads(); said["words"] != "first" {
		t.Errorf("after a restart it read %v", said)
	}
	l.next("1.2.0", "third")
	l.until("r", "the next one", func(st Status) bool { return st.Upgrade.State == UpgradeProbation })
	if _, said := l.reads(); said["words"] != "third" {
		t.Errorf("it read %v", said)
	}
}

// A model that makes the plugin crash is taken back, also by a host that was started again.
func TestModelIsTakenBack(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	l.untilState("r", Ready)
	l.next("1.1.0", "bad at work")
	l.untilUpgrade(UpgradeProbation)
	if _, err := l.collect("r"); err == nil {
		t.Fatal("it did not crash")
	}
	st := l.untilUpgrade(UpgradeRolledBack)
	if !strings.HasPrefix(st.Upgrade.Reason, wordsID+" 1.1.0 exited with status 3") {
		t.Errorf("the reason is %q", st.Upgrade.Reason)
	}
	l.untilState("r", Ready)
	if _, said := l.reads(); said["words"] != "first" {
		t.Errorf("it read %v", said)
	}
	second, err := New(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Stop(t.Context())
	l.fixture = &fixture{second, t, l.shelf, l.events}
	defer second.Stop(context.WithoutCancel(t.Context()))
	l.start(`{}`)
	l.untilState("r", Ready)
	if _, said := l.reads(); said["words"] != "first" {
		t.Errorf("the next host let it read %v", said)
	}
}

// A plugin whose model is not there says so, and starts when it comes.
func TestModelIsMissing(t *testing.T) {
	l := newLibrary(t, "first")
	if err := l.client.Remove(t.Context(), wordsID); err != nil {
		t.Fatal(err)
	}
	l.start(`{}`)
	st := l.untilState("r", Refused)
	if st.Refusal != registry.NotInstalled || !strings.Contains(st.Reason, wordsID) || !strings.Contains(st.Reason, "^1") {
		t.Errorf("%s: %s", st.Refusal, st.Reason)
	}
	l.install(wordsID, "")
	l.Recheck()
	l.untilState("r", Ready)
}

// A plugin stops when its model is withdrawn, and says which; another release of it brings it back.
func TestAttackRevokedModel(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	l.untilState("r", Ready)
	l.registry.Revoke(t, wordsID, "1.0.0", "its data was poisoned")
	if err := l.client.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.Recheck()
	st := l.untilState("r", Revoked)
	if st.Refusal != registry.Revoked || !strings.Contains(st.Reason, wordsID) || !strings.Contains(st.Reason, "its data was poisoned") {
		t.Errorf("%s: %s", st.Refusal, st.Reason)
	}
	waitGone(t, st.PID)
	l.next("1.0.1", "clean")
	l.untilState("r", Ready)
	if _, said := l.reads(); said["words"] != "clean" {
		t.Errorf("it read %v", said)
	}
}

// What the plugin before it was shown is not what the next one reads: bytes that were swapped on disk start nothing.
func TestAttackModelSwappedBeforeTheStart(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{}`)
	l.untilState("r", Ready)
	in, _ := l.client.Installed(wordsID)
	stored := filepath.Join(l.dir, "store", "sha256", in.Artifacts[0].SHA256)
	if err := errors.Join(os.Chmod(stored, 0o600), os.WriteFile(stored, []byte("liars"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, said := l.reads(); said["words"] != "first" {
		t.Errorf("what runs read %v", said)
	}
	if err := l.Restart(t.Context(), "r"); err == nil {
		t.Error("it started with what nobody signed")
	}
	st := l.untilState("r", Refused)
	if st.Refusal != registry.DigestMismatch || !strings.Contains(st.Reason, wordsID) {
		t.Errorf("%s: %s", st.Refusal, st.Reason)
	}
}

// A plugin changes nothing of its model and opens none that its manifest does not name.
func TestAttackModelOfOthers(t *testing.T) {
	l := newLibrary(t, "first")
	l.start(`{"attack": true}`)
	l.untilState("r", Ready)
	_, said := l.reads()
	for name := range attacksOnModels {
		if said[name] == "<nil>" || said[name] == "" {
			t.Errorf("%s: it succeeded", name)
		}
	}
	if said["after"] != "first" {
		t.Errorf("after it all the model reads %q", said["after"])
	}
	if want := "does not name it under requires"; !strings.Contains(said["another's"], want) || !strings.Contains(said["a model as a path"], want) {
		t.Errorf("it was told %q and %q", said["another's"], said["a model as a path"])
	}
	st := l.until("r", "an incident", func(st Status) bool { return len(st.Incidents) > 0 })
	named := func(i Incident) bool { return strings.Contains(fmt.Sprint(i), secretID) }
	if !slices.ContainsFunc(st.Incidents, named) {
		t.Errorf("the incidents are %+v", st.Incidents)
	}
}

// Models that would take all memory are not opened; what one release may have the registry bounds.
func TestAttackModelsTooLarge(t *testing.T) {
	h := &Host{cfg: Config{Registry: hugeShelf{}, Ceiling: policy.Default()}}
	s := &supervisor{host: h, ctx: t.Context()}
	needs := []registry.Requirement{{Plugin: "picket/a"}, {Plugin: "picket/b"}, {Plugin: "picket/c"}}
	_, err := s.openModels(readerID, needs)
	var no *refusal
	if !errors.As(err, &no) || no.state != Refused || !strings.Contains(err.Error(), "larger than 1024 MiB") {
		t.Errorf("got %v", err)
	}
	models, err := s.openModels(readerID, needs[:2])
	if err != nil {
		t.Errorf("as much as is allowed: %v", err)
	}
	closeModels(models)
}

// Nor do the models of many plugins take all memory of a node together. What is closed makes room, once.
func TestAttackModelsOfManyTooLarge(t *testing.T) {
	h := &Host{cfg: Config{Registry: hugeShelf{}, Ceiling: policy.Default()}, room: modelRoom{most: 3 * registry.MaxArtifact}}
	s := &supervisor{host: h, ctx: t.Context()}
	two := []registry.Requirement{{Plugin: "picket/a"}, {Plugin: "picket/b"}}
	first, err := s.openModels(readerID, two)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.openModels(readerID, two)
	var later *trouble
	if !errors.As(err, &later) || !strings.Contains(err.Error(), "no room for another 512 MiB") {
		t.Errorf("got %v", err)
	}
	if h.room.used != 2*registry.MaxArtifact {
		t.Errorf("a start that failed keeps %d bytes", h.room.used-2*registry.MaxArtifact)
	}
	closeModels(first)
	closeModels(first)
	if h.room.used != 0 {
		t.Errorf("%d bytes are taken by nobody", h.room.used)
	}
	second, err := s.openModels(readerID, two)
	if err != nil {
		t.Errorf("there is room again: %v", err)
	}
	closeModels(second)
}

// Whose plugins a node's owner does not let run, of those nobody reads a model either.
func TestAttackModelBeyondTheCeiling(t *testing.T) {
	ceiling, err := policy.Parse([]byte("apiVersion: picket/v1\nnamespaces: [picket]\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := &supervisor{host: &Host{cfg: Config{Registry: hugeShelf{}, Ceiling: ceiling}}, ctx: t.Context()}
	models, err := s.openModels(readerID, []registry.Requirement{{Plugin: "picket/a"}, {Plugin: "acme/a"}})
	var no *registry.Refusal
	if !errors.As(err, &no) || no.Reason != registry.BeyondCeiling || no.Plugin != "acme/a" {
		t.Errorf("%d models, %v", len(models), err)
	}
}

// hugeShelf has models of the largest size that a release may have.
type hugeShelf struct{}

func (hugeShelf) OpenVerified(context.Context, string, string) (*client.Artifact, error) {
	return nil, errors.New("there are no plugins")
}

func (hugeShelf) OpenRelease(_ context.Context, id, version, _ string) (*client.Artifact, error) {
	f, err := os.Open(os.DevNull) // nobody reads it
	return &client.Artifact{ID: id, Version: version, File: f}, err
}

func (hugeShelf) Required(_ context.Context, need registry.Requirement, _ func(string) string) (*client.Installed, error) {
	return &client.Installed{Locked: registry.Locked{ID: need.Plugin, Version: "1.0.0", Artifacts: []registry.Artifact{{Size: registry.MaxArtifact}}}}, nil
}
