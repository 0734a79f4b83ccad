package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// realFleet is a rollout service over a real store, which dies at one of its writes and is started again, and agents that
// do what the store tells them.
type realFleet struct {
	*Service
	t      *testing.T
	store  *store.Control
	now    time.Time
	broken map[string]bool // agents on which 1.1.0 crashes
	writes int
	dies   int  // at which write; -1: never
	after  bool // once that write is on the disk
	dead   bool
	deaths int
}

var errDied = errors.New("picketd is gone")

func newRealFleet(t *testing.T, broken ...string) *realFleet {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "picket-test-") //nolint:usetesting // in memory
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &realFleet{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), broken: map[string]bool{}, dies: -1}
	for _, id := range broken {
		f.broken[id] = true
	}
	clock := func() time.Time { return f.now }
	f.store, err = store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"), KeyFile: filepath.Join(dir, "keys", "k"), Now: clock})
	f.ok(err)
	t.Cleanup(func() { f.store.Close() })
	for i, group := range []string{"prod", "prod", "prod", "lab"} {
		id, hash := fmt.Sprintf("a%d", i), []byte{byte(i)}
		f.ok(f.store.CreateEnrolmentToken(t.Context(), store.EnrolmentToken{ID: "t" + id, Tenant: store.DefaultTenant, Hash: hash, Expires: f.now.Add(time.Hour)}))
		_, err := f.store.EnrolAgent(t.Context(), hash, store.Agent{ID: id, Name: id, PublicKey: []byte("k"), BearerHash: []byte("b")})
		f.ok(err)
		f.ok(f.store.SetAgentGroup(t.Context(), store.DefaultTenant, id, group))
	}
	f.ok(f.store.PutAssignment(t.Context(), store.Assignment{Tenant: store.DefaultTenant, Instance: plugin, Plugin: plugin, Version: "1.0.0",
		NodeType: store.NodeAgents, Enabled: true}))
	f.restart()
	f.obey()
	return f
}

func (f *realFleet) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *realFleet) restart() {
	f.dead = false
	clock := func() time.Time { return f.now }
	cat := shelfless{catalogue.New(catalogue.Config{Tenant: store.DefaultTenant, Store: f.store, Now: clock})}
	f.Service = New(Config{Tenant: store.DefaultTenant, Store: mortal{f.store, f}, Catalogue: cat, Audit: f, Now: clock, Patience: 5 * time.Minute})
}

func (f *realFleet) Record(context.Context, audit.Entry) error { return nil }

// shelfless is a catalogue whose registry offers any version, with the grants that there are.
type shelfless struct{ *catalogue.Catalogue }

func (shelfless) FindRelease(_ context.Context, id, version string) (*client.Verified, error) {
	return &client.Verified{ID: id, Version: version}, nil
}

func (shelfless) Suit(context.Context, store.Assignment, *client.Verified, catalogue.Grants) (json.RawMessage, []sdk.Permission, error) {
	return nil, nil, nil
}

// mortal is the store of a process that dies.
type mortal struct {
	*store.Control
	f *realFleet
}

func (m mortal) PutRollout(ctx context.Context, r store.Rollout, changes []store.VersionChange, settled []store.Settled) error {
	f := m.f
	if f.dead {
		return errDied
	}
	at := f.writes == f.dies
	f.writes++
	if at {
		f.dead = true
		f.deaths++
		if !f.after {
			return errDied
		}
	}
	return errors.Join(m.Control.PutRollout(ctx, r, changes, settled), map[bool]error{true: errDied}[at])
}

func (m mortal) OpenRollouts(ctx context.Context, tenant string) ([]store.Rollout, error) {
	if m.f.dead {
		return nil, errDied
	}
	return m.Control.OpenRollouts(ctx, tenant)
}

// obey lets every agent run what it is told to and report that.
func (f *realFleet) obey() {
	f.t.Helper()
	agents, _, err := f.store.ListAgents(f.t.Context(), store.DefaultTenant, store.Page{})
	f.ok(err)
	for _, a := range agents {
		rows, err := f.store.NodeAssignments(f.t.Context(), store.DefaultTenant, store.NodeAgent, a.ID)
		f.ok(err)
		st := pluginhost.Status{Instance: plugin, Plugin: plugin, Version: rows[0].Version, State: pluginhost.Ready}
		if f.broken[a.ID] && st.Version == "1.1.0" {
			st.State, st.Reason = pluginhost.Quarantined, "it crashed 3 times"
		}
		said, err := json.Marshal(map[string]any{"config_version": a.ConfigVersion, "plugins": []pluginhost.Status{st}})
		f.ok(err)
		f.ok(f.store.SetAgentStatus(f.t.Context(), a.ID, "1", said, f.now))
	}
}

// look is one look of the service, which is started again when it died.
func (f *realFleet) look() {
	f.t.Helper()
	if err := f.Look(f.t.Context()); err != nil && !errors.Is(err, errDied) {
		f.t.Fatal(err)
	}
	if f.dead {
		f.restart()
	}
}

// end lets time pass until the rollout has ended and the agents do what was decided, and says what that is.
func (f *realFleet) end() string {
	f.t.Helper()
	for range 40 {
		f.look()
		f.obey()
		f.now = f.now.Add(30 * time.Second)
	}
	list, _, err := f.store.ListRollouts(f.t.Context(), store.DefaultTenant, store.Page{})
	f.ok(err)
	out := []string{}
	for _, r := range list {
		out = append(out, r.State)
	}
	seen, err := f.cfg.Catalogue.Observe(f.t.Context(), plugin)
	f.ok(err)
	for _, o := range seen {
		if o.Instance.Version != o.Row.Version || !o.Applied {
			f.t.Errorf("%s runs %s and is told %s", o.Agent.ID, o.Instance.Version, o.Row.Version)
		}
		out = append(out, o.Agent.ID+" "+o.Row.Version)
	}
	// Who comes into the group now gets what the group runs.
	f.ok(f.store.SetAgentGroup(f.t.Context(), store.DefaultTenant, "a3", "prod"))
	rows, err := f.store.NodeAssignments(f.t.Context(), store.DefaultTenant, store.NodeAgent, "a3")
	f.ok(err)
	return strings.Join(append(out, "in prod "+rows[0].Version), ", ")
}

// The server is killed before and after each write of a rollout. It goes on or goes back as it would have, and no agent
// is left with a version that nobody wants.
func TestKilledBetweenAnyTwoWrites(t *testing.T) {
	for name, c := range map[string]struct {
		rollout store.Rollout
		broken  []string
		halt    bool // by a person, while the canaries are watched
		want    string
	}{
		"all agents": {rollout: store.Rollout{CanaryPercent: 25, Soak: time.Minute}, want: "done, a0 1.1.0, a1 1.1.0, a2 1.1.0, a3 1.1.0, in prod 1.1.0"},
		"a group":    {rollout: store.Rollout{Group: "prod", CanaryPercent: 25, Soak: time.Minute}, want: "done, a0 1.1.0, a1 1.1.0, a2 1.1.0, a3 1.0.0, in prod 1.1.0"},
		"it fails": {rollout: store.Rollout{Group: "prod", CanaryPercent: 25, Soak: time.Minute}, broken: []string{"a0", "a1", "a2"},
			want: "rolled back, a0 1.0.0, a1 1.0.0, a2 1.0.0, a3 1.0.0, in prod 1.0.0"},
		"it fails on one late": {rollout: store.Rollout{CanaryPercent: 25, Soak: time.Minute}, broken: []string{"last"},
			want: "rolled back, a0 1.0.0, a1 1.0.0, a2 1.0.0, a3 1.0.0, in prod 1.0.0"},
		"a person halts it": {rollout: store.Rollout{CanaryPercent: 50, Soak: time.Hour}, halt: true, want: "rolled back, a0 1.0.0, a1 1.0.0, a2 1.0.0, a3 1.0.0, in prod 1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(dies int, after bool) (*realFleet, string) {
				f := newRealFleet(t, c.broken...)
				f.dies, f.after = dies, after
				r := c.rollout
				r.Plugin, r.Version, r.By = plugin, "1.1.0", "user:ada"
				made, err := f.Create(t.Context(), r, catalogue.Grants{})
				if errors.Is(err, errDied) {
					f.restart()
					if open, err := f.store.OpenRollouts(t.Context(), store.DefaultTenant); err != nil || len(open) != map[bool]int{true: 1}[after] {
						t.Fatalf("%d rollouts are open, %v", len(open), err)
					} else if !after { // it never began: the person asks again
						made, err = f.Create(t.Context(), r, catalogue.Grants{})
						f.ok(err)
					} else {
						made = open[0]
					}
				} else {
					f.ok(err)
				}
				if slices.Contains(c.broken, "last") {
					f.broken[made.Nodes[len(made.Nodes)-1].ID] = true
				}
				f.obey()
				f.look()
				if c.halt {
					if _, err := f.Halt(t.Context(), made.ID, "user:ada"); errors.Is(err, errDied) {
						f.restart()
						if !after {
							_, err = f.Halt(t.Context(), made.ID, "user:ada")
							f.ok(err)
						}
					} else {
						f.ok(err)
					}
				}
				return f, f.end()
			}
			f, got := run(-1, false)
			if got != c.want || f.writes < 3 {
				t.Fatalf("undisturbed it ends with %s after %d writes, want %s", got, f.writes, c.want)
			}
			for at := range f.writes {
				for _, after := range []bool{false, true} {
					g, got := run(at, after)
					if got != c.want || g.deaths != 1 {
						t.Errorf("killed at write %d of %d, after it: %t (%d deaths): %s", at, f.writes, after, g.deaths, got)
					}
				}
			}
		})
	}
}

// A policy's update is killed before and after each write, too: the plugin is updated once.
func TestAPolicyKilledBetweenAnyTwoWrites(t *testing.T) {
	for at := range 3 {
		for _, after := range []bool{false, true} {
			f := newFleet(t, 2)
			f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "minor", Group: store.GroupAll}}
			f.offered = []catalogue.OfferedRelease{{Version: "1.1.0", Published: f.now.Add(-time.Hour)}}
			writes := 0
			f.Service = New(Config{Tenant: "t", Store: &dyingStore{fleet: f, dies: func() (bool, bool) { writes++; return writes-1 == at, after }}, Catalogue: f, Audit: f,
				Now: func() time.Time { return f.now }})
			f.Update(t.Context())
			f.Service = New(Config{Tenant: "t", Store: f, Catalogue: f, Audit: f, Now: func() time.Time { return f.now }, Patience: time.Hour})
			f.Update(t.Context())
			for range 4 {
				f.obey()
				f.now = f.now.Add(autoSoak)
			}
			f.obey()
			states := []string{}
			for _, id := range slices.Sorted(maps.Keys(f.rollouts)) {
				states = append(states, f.rollouts[id].State)
			}
			if !slices.Equal(states, []string{store.RolloutDone}) || f.agents[0].Row.Version != "1.1.0" {
				t.Errorf("killed at write %d, after it: %t: rollouts %v, agents run %s", at, after, states, f.agents[0].Row.Version)
			}
		}
	}
}

// dyingStore is a fleet's store up to a write.
type dyingStore struct {
	*fleet
	dies func() (now, after bool)
	dead bool
}

func (s *dyingStore) write(do func() error) error {
	if s.dead {
		return errDied
	}
	now, after := s.dies()
	s.dead = now
	if now && !after {
		return errDied
	}
	if err := do(); err != nil || !now {
		return err
	}
	return errDied
}

func (s *dyingStore) PutRollout(ctx context.Context, r store.Rollout, changes []store.VersionChange, settled []store.Settled) error {
	return s.write(func() error { return s.fleet.PutRollout(ctx, r, changes, settled) })
}

func (s *dyingStore) NoteUpdatePolicy(ctx context.Context, p store.UpdatePolicy) error {
	return s.write(func() error { return s.fleet.NoteUpdatePolicy(ctx, p) })
}
