package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

const plugin = "acme/host"

// fleet is agents that do what they are told on the next look, a registry, and the store of the service.
type fleet struct {
	*Service
	t        *testing.T
	now      time.Time
	agents   []catalogue.Observed
	broken   map[string]string // version on an agent ("id version") → what goes wrong
	rollouts map[string]store.Rollout
	policies []store.UpdatePolicy
	offered  []catalogue.OfferedRelease
	missing  []sdk.Permission
	granted  json.RawMessage
	suits    func(row store.Assignment) json.RawMessage // what the version runs with; nil: what was granted
	server   []store.Assignment
	upgraded []string
	upgrade  error
	audited  []string
	settled  []store.Settled
	plain    string // what agents run that no rollout says anything about
}

func newFleet(t *testing.T, agents int) *fleet {
	t.Helper()
	f := &fleet{t: t, now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), broken: map[string]string{}, rollouts: map[string]store.Rollout{}, plain: "1.0.0"}
	for i := range agents {
		id := fmt.Sprintf("agent-%d", i)
		f.agents = append(f.agents, catalogue.Observed{Agent: store.Agent{ID: id, Name: id, Group: store.GroupAll}, Online: true, Applied: true,
			Row:      store.Assignment{Instance: plugin, Plugin: plugin, Version: "1.0.0"},
			Instance: catalogue.Instance{Version: "1.0.0", State: pluginhost.Ready}})
	}
	f.Service = New(Config{Tenant: "t", Store: f, Catalogue: f, Audit: f, Now: func() time.Time { return f.now }, Patience: 5 * time.Minute})
	return f
}

func (f *fleet) agent(id string) *catalogue.Observed {
	i := slices.IndexFunc(f.agents, func(o catalogue.Observed) bool { return o.Agent.ID == id })
	return &f.agents[i]
}

// PutRollout does what the store and the agents do together.
func (f *fleet) PutRollout(_ context.Context, r store.Rollout, changes []store.VersionChange, settled []store.Settled) error {
	for _, other := range f.rollouts {
		if other.ID != r.ID && other.Plugin == r.Plugin && other.Open() {
			return store.ErrConflict
		}
	}
	raw, err := json.Marshal(r) // what the store does not keep must not be needed
	if err != nil {
		return err
	}
	var kept store.Rollout
	if err := json.Unmarshal(raw, &kept); err != nil {
		return err
	}
	f.rollouts[r.ID] = kept
	f.settled = append(f.settled, settled...)
	for _, c := range changes {
		if c.Version == "" {
			c.Version = f.plain
		}
		if slices.ContainsFunc(f.agents, func(o catalogue.Observed) bool { return o.Agent.ID == c.Agent }) {
			f.agent(c.Agent).Row.Version = c.Version
		}
	}
	return nil
}

func (f *fleet) RolloutByID(_ context.Context, _, id string) (store.Rollout, error) {
	r, ok := f.rollouts[id]
	if !ok {
		return r, store.ErrNotFound
	}
	return r, nil
}

func (f *fleet) OpenRollouts(context.Context, string) (out []store.Rollout, _ error) {
	for _, r := range f.rollouts {
		if r.Open() {
			out = append(out, r)
		}
	}
	return out, nil
}

func (f *fleet) ListRollouts(context.Context, string, store.Page) (out []store.Rollout, _ string, _ error) {
	for _, r := range f.rollouts {
		out = append(out, r)
	}
	return out, "", nil
}

func (f *fleet) UpdatePolicies(context.Context, string) ([]store.UpdatePolicy, error) {
	return slices.Clone(f.policies), nil
}

func (f *fleet) NoteUpdatePolicy(_ context.Context, p store.UpdatePolicy) error {
	f.policies = []store.UpdatePolicy{p}
	return nil
}

func (f *fleet) FindRelease(_ context.Context, id, version string) (*client.Verified, error) {
	return &client.Verified{ID: id, Version: version}, nil
}

func (f *fleet) Suit(_ context.Context, row store.Assignment, _ *client.Verified, more catalogue.Grants) (json.RawMessage, []sdk.Permission, error) {
	if f.suits != nil {
		return f.suits(row), nil, nil
	}
	if more.All {
		return f.granted, nil, nil
	}
	return nil, f.missing, nil
}

func (f *fleet) Observe(context.Context, string) ([]catalogue.Observed, error) {
	return slices.Clone(f.agents), nil
}

func (f *fleet) ObserveConfig(context.Context, string, int64) ([]catalogue.Observed, int64, error) {
	return nil, 0, errors.New("no configurations here")
}

func (f *fleet) ServerRows(context.Context, string) ([]store.Assignment, error) { return f.server, nil }

func (f *fleet) Offered(context.Context, string) ([]catalogue.OfferedRelease, error) {
	return f.offered, nil
}

func (f *fleet) Upgrade(_ context.Context, _, instance, version, by string) error {
	f.upgraded = append(f.upgraded, instance+" "+version+" "+by)
	return f.upgrade
}

func (f *fleet) Record(_ context.Context, e audit.Entry) error {
	f.audited = append(f.audited, e.Actor+" "+e.Action+" "+e.Detail)
	return nil
}

// obey lets every agent that is there do what it was told, and the service look.
func (f *fleet) obey() {
	f.t.Helper()
	for i := range f.agents {
		o := &f.agents[i]
		if !o.Online || o.Instance.Version == o.Row.Version && o.Instance.State == pluginhost.Ready {
			continue
		}
		o.Instance.Version, o.Instance.State, o.Instance.Reason = o.Row.Version, pluginhost.Ready, ""
		switch f.broken[o.Agent.ID+" "+o.Row.Version] {
		case "quarantine":
			o.Instance.State, o.Instance.Reason = pluginhost.Quarantined, "it crashed 3 times"
		case "refuse":
			o.Instance.State, o.Instance.Reason = pluginhost.Refused, "beyond the ceiling"
		case "back":
			o.Instance.Version = "1.0.0"
			o.Instance.Upgrade = &pluginhost.Upgrade{From: "1.0.0", To: o.Row.Version, State: pluginhost.UpgradeRolledBack, Reason: "it failed its probation", Began: f.now}
		case "crash":
			o.Instance.Ledger.Crashes++
		case "errors":
			o.Instance.Ledger.Calls += 100
			o.Instance.Ledger.Errors += 60
		case "silent":
			o.Applied = false
		}
	}
	f.look()
}

func (f *fleet) look() {
	f.t.Helper()
	if err := f.Look(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fleet) create(r store.Rollout) store.Rollout {
	f.t.Helper()
	r.Plugin, r.Version, r.By = plugin, "1.1.0", "user:ada"
	got, err := f.Create(f.t.Context(), r, catalogue.Grants{})
	if err != nil {
		f.t.Fatal(err)
	}
	return got
}

func (f *fleet) want(id, state string, versions string) store.Rollout {
	f.t.Helper()
	r := f.rollouts[id]
	if r.State != state {
		f.t.Fatalf("the rollout is %s (%s), want %s", r.State, r.Reason, state)
	}
	var have []string
	for _, o := range f.agents {
		have = append(have, o.Row.Version)
	}
	slices.Sort(have)
	if got := strings.Join(have, " "); got != versions {
		f.t.Fatalf("%s: agents should run %s, want %s", state, got, versions)
	}
	return r
}

func TestCanariesFirstThenAll(t *testing.T) {
	f := newFleet(t, 5)
	r := f.create(store.Rollout{CanaryPercent: 20, Soak: 10 * time.Minute})
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.0.0 1.0.0 1.1.0")
	f.obey()
	f.now = f.now.Add(9 * time.Minute)
	f.look()
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.0.0 1.0.0 1.1.0")
	f.now = f.now.Add(time.Minute)
	f.look()
	f.want(r.ID, store.RolloutRolling, "1.1.0 1.1.0 1.1.0 1.1.0 1.1.0")
	f.obey()
	f.want(r.ID, store.RolloutDone, "1.1.0 1.1.0 1.1.0 1.1.0 1.1.0")
	if len(f.settled) != 1 || f.settled[0].Version != "1.1.0" {
		t.Errorf("what agents that come later get: %+v", f.settled)
	}
	if !slices.ContainsFunc(f.audited, func(s string) bool { return strings.HasPrefix(s, "system rollout.done") }) {
		t.Errorf("audit: %q", f.audited)
	}
}

func TestTheSameAgentsAreCanariesEachTime(t *testing.T) {
	first := ""
	for range 3 {
		f := newFleet(t, 9)
		slices.Reverse(f.agents)
		r := f.create(store.Rollout{CanaryPercent: 30})
		var got []string
		for _, n := range r.Nodes {
			if n.Canary {
				got = append(got, n.ID)
			}
		}
		if len(got) != 3 || first != "" && first != strings.Join(got, " ") {
			t.Fatalf("canaries %v, before %s", got, first)
		}
		first = strings.Join(got, " ")
	}
}

func TestAFailureHaltsAndBringsAllBack(t *testing.T) {
	for what, why := range map[string]string{"quarantine": "quarantined", "refuse": "refused", "back": "by itself", "crash": "crashed", "errors": "60 of its 100 calls"} {
		t.Run(what, func(t *testing.T) {
			f := newFleet(t, 4)
			r := f.create(store.Rollout{CanaryPercent: 50, Soak: time.Minute})
			f.broken[r.Nodes[1].ID+" 1.1.0"] = what
			f.obey()
			got := f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0 1.0.0 1.0.0")
			if !strings.Contains(got.Reason, why) || !strings.Contains(got.Reason, r.Nodes[1].Name) {
				t.Errorf("reason %q does not say %q", got.Reason, why)
			}
			f.obey()
			got = f.want(r.ID, store.RolloutRolledBack, "1.0.0 1.0.0 1.0.0 1.0.0")
			if got.Nodes[0].State != store.NodeRolledBack || got.Nodes[1].State != store.NodeRolledBack || got.Nodes[2].State != store.NodeWaiting {
				t.Errorf("nodes %+v", got.Nodes)
			}
			if len(f.settled) != 0 {
				t.Errorf("settled: %+v", f.settled)
			}
		})
	}
}

func TestAFailureWhileRollingHaltsToo(t *testing.T) {
	f := newFleet(t, 4)
	r := f.create(store.Rollout{CanaryPercent: 25})
	f.broken[r.Nodes[3].ID+" 1.1.0"] = "quarantine"
	f.obey()
	f.want(r.ID, store.RolloutRolling, "1.1.0 1.1.0 1.1.0 1.1.0")
	f.obey()
	f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0 1.0.0 1.0.0")
	f.obey()
	f.want(r.ID, store.RolloutRolledBack, "1.0.0 1.0.0 1.0.0 1.0.0")
}

func TestAsManyMayFailAsSomebodyAllowed(t *testing.T) {
	f := newFleet(t, 4)
	r := f.create(store.Rollout{CanaryPercent: 50, MaxFailures: 1})
	f.broken[r.Nodes[0].ID+" 1.1.0"] = "quarantine"
	f.obey()
	f.obey()
	got := f.want(r.ID, store.RolloutDone, "1.0.0 1.1.0 1.1.0 1.1.0")
	if got.Nodes[0].State != store.NodeFailed || len(f.settled) != 1 {
		t.Errorf("%+v, settled %+v", got.Nodes[0], f.settled)
	}
}

func TestTheOnlyCanaryFails(t *testing.T) {
	f := newFleet(t, 3)
	r := f.create(store.Rollout{CanaryPercent: 1, MaxFailures: 2})
	f.broken[r.Nodes[0].ID+" 1.1.0"] = "quarantine"
	f.obey()
	f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0 1.0.0") // nobody is left to tell whether it works
}

func TestAnAgentThatDoesNothing(t *testing.T) {
	f := newFleet(t, 2)
	r := f.create(store.Rollout{CanaryPercent: 50})
	f.broken[r.Nodes[0].ID+" 1.1.0"] = "silent"
	f.obey()
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.1.0")
	f.now = f.now.Add(6 * time.Minute)
	f.look()
	f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0")
}

func TestAnAgentThatIsAway(t *testing.T) {
	f := newFleet(t, 3)
	away := &f.agents[1]
	away.Online = false
	r := f.create(store.Rollout{CanaryPercent: 34})
	for _, n := range r.Nodes {
		if n.Canary && n.ID == away.Agent.ID {
			t.Fatal("one that is away is a canary")
		}
	}
	f.obey()
	f.obey()
	got := f.want(r.ID, store.RolloutDone, "1.1.0 1.1.0 1.1.0")
	if !strings.Contains(got.Reason, away.Agent.Name) {
		t.Errorf("reason %q", got.Reason)
	}
}

func TestPauseResumeFinishHalt(t *testing.T) {
	f := newFleet(t, 4)
	ctx := t.Context()
	r := f.create(store.Rollout{CanaryPercent: 25, Soak: time.Minute})
	f.obey()
	if _, err := f.Pause(ctx, r.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(time.Hour)
	f.look()
	f.want(r.ID, store.RolloutPaused, "1.0.0 1.0.0 1.0.0 1.1.0")
	if _, err := f.Resume(ctx, r.ID, "user:bob", catalogue.Grants{}); err != nil {
		t.Fatal(err)
	}
	f.want(r.ID, store.RolloutCanary, "1.0.0 1.0.0 1.0.0 1.1.0") // it soaks anew
	if _, err := f.Finish(ctx, r.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	f.want(r.ID, store.RolloutRolling, "1.1.0 1.1.0 1.1.0 1.1.0")
	if _, err := f.Halt(ctx, r.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	f.obey()
	f.want(r.ID, store.RolloutRolledBack, "1.0.0 1.0.0 1.0.0 1.0.0")
	var wrong *catalogue.InvalidError
	if _, err := f.Resume(ctx, r.ID, "user:bob", catalogue.Grants{}); !errors.As(err, &wrong) {
		t.Errorf("resume what has ended: %v", err)
	}
}

func TestWhatIsPausedStillHaltsWhenItFails(t *testing.T) {
	f := newFleet(t, 2)
	r := f.create(store.Rollout{CanaryPercent: 50, Soak: time.Hour})
	f.obey()
	if _, err := f.Pause(t.Context(), r.ID, "user:bob"); err != nil {
		t.Fatal(err)
	}
	f.agent(r.Nodes[0].ID).Instance.State = pluginhost.Quarantined
	f.look()
	f.want(r.ID, store.RolloutHalted, "1.0.0 1.0.0")
}

func TestMoreThanWasGrantedWaitsForAPerson(t *testing.T) {
	f := newFleet(t, 2)
	f.missing = []sdk.Permission{{Cap: sdk.CapNetDial, Reason: "It calls home."}}
	f.granted = json.RawMessage(`[{"cap":"net.dial"}]`)
	r := f.create(store.Rollout{CanaryPercent: 100})
	got := f.want(r.ID, store.RolloutWaiting, "1.0.0 1.0.0")
	if !strings.Contains(got.Reason, "net.dial") || !strings.Contains(got.Reason, "calls home") {
		t.Errorf("reason %q", got.Reason)
	}
	f.obey()
	f.want(r.ID, store.RolloutWaiting, "1.0.0 1.0.0")
	if _, err := f.Resume(t.Context(), r.ID, "user:ada", catalogue.Grants{}); err == nil {
		t.Error("it went on without grants")
	}
	f.want(r.ID, store.RolloutWaiting, "1.0.0 1.0.0")
	if _, err := f.Finish(t.Context(), r.ID, "user:ada"); err == nil {
		t.Error("it can be finished around the grants")
	}
	if _, err := f.Resume(t.Context(), r.ID, "user:ada", catalogue.Grants{All: true}); err != nil {
		t.Fatal(err)
	}
	got = f.want(r.ID, store.RolloutCanary, "1.1.0 1.1.0")
	if string(got.Nodes[0].ToGrants) != string(f.granted) {
		t.Errorf("grants %s", got.Nodes[0].ToGrants)
	}
}

func TestSomebodyElseChangesTheVersion(t *testing.T) {
	f := newFleet(t, 2)
	r := f.create(store.Rollout{CanaryPercent: 50, Soak: time.Hour})
	f.obey()
	f.agents[0].Row.Version, f.agents[1].Row.Version, f.plain = "3.0.0", "3.0.0", "3.0.0"
	f.look()
	got := f.want(r.ID, store.RolloutRolledBack, "3.0.0 3.0.0")
	if !strings.Contains(got.Reason, "somebody set") {
		t.Errorf("reason %q", got.Reason)
	}
}

func TestWhatCannotBegin(t *testing.T) {
	f := newFleet(t, 1)
	for name, r := range map[string]store.Rollout{
		"a group without agents": {Plugin: plugin, Version: "1.1.0", Group: "prod"},
		"the version that runs":  {Plugin: plugin, Version: "1.0.0"},
	} {
		var wrong *catalogue.InvalidError
		if _, err := f.Create(t.Context(), r, catalogue.Grants{}); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.create(store.Rollout{CanaryPercent: 100, Soak: time.Hour})
	f.agents = append(f.agents, newFleet(t, 2).agents[1])
	var wrong *catalogue.InvalidError
	if _, err := f.Create(t.Context(), store.Rollout{Plugin: plugin, Version: "1.2.0"}, catalogue.Grants{}); !errors.As(err, &wrong) {
		t.Errorf("a second one at a time: %v", err)
	}
}

func TestNewestByPolicy(t *testing.T) {
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	old := now.AddDate(0, 0, -30)
	offered := []catalogue.OfferedRelease{
		{Version: "2.0.0", Published: old}, {Version: "1.3.0-rc.1", Published: old}, {Version: "1.2.1", Published: now.AddDate(0, 0, -1)},
		{Version: "1.2.0", Published: old}, {Version: "1.1.3", Published: old, Yanked: "broken"}, {Version: "1.1.2", Published: old},
		{Version: "1.1.1", Published: old, Revoked: "malicious"}, {Version: "1.1.0", Published: old},
	}
	for name, c := range map[string]struct {
		policy    store.UpdatePolicy
		want, why string
	}{
		"patch":                 {store.UpdatePolicy{Auto: "patch", CooldownDays: 7}, "1.1.2", ""},
		"minor, after a while":  {store.UpdatePolicy{Auto: "minor", CooldownDays: 7}, "1.2.0", "1.2.1 is too new"},
		"minor, at once":        {store.UpdatePolicy{Auto: "minor"}, "1.2.1", ""},
		"what failed before":    {store.UpdatePolicy{Auto: "patch", Failed: "1.1.2"}, "", "not tried again"},
		"nothing is old enough": {store.UpdatePolicy{Auto: "minor", CooldownDays: 90}, "", "too new"},
	} {
		got, why := newest(c.policy, "1.1.0", offered, now)
		if got != c.want || !strings.Contains(why, c.why) || c.why == "" && why != "" {
			t.Errorf("%s: %q (%s), want %q (%s)", name, got, why, c.want, c.why)
		}
	}
	if got, why := newest(store.UpdatePolicy{Auto: "patch", CooldownDays: 1}, "1.0.0", []catalogue.OfferedRelease{{Version: "1.0.1"}}, now); got != "" || !strings.Contains(why, "nobody says") {
		t.Errorf("without a date: %q %q", got, why)
	}
}

func TestUpdateByPolicy(t *testing.T) {
	f := newFleet(t, 3)
	f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "minor", Group: store.GroupAll}}
	f.offered = []catalogue.OfferedRelease{{Version: "1.1.0", Published: f.now.Add(-time.Hour)}}
	f.server = []store.Assignment{{Instance: plugin, Plugin: plugin, Version: "1.0.0"}}
	f.Update(t.Context())
	if len(f.rollouts) != 1 || !slices.Equal(f.upgraded, []string{plugin + " 1.1.0 " + By}) {
		t.Fatalf("rollouts %v, upgraded %v, %+v", f.rollouts, f.upgraded, f.policies)
	}
	for _, r := range f.rollouts {
		if r.By != By || r.State != store.RolloutCanary {
			t.Errorf("%+v", r)
		}
		f.broken[r.Nodes[0].ID+" 1.1.0"] = "quarantine"
	}
	f.obey()
	f.obey()
	f.server[0].Version = "1.1.0"
	f.Update(t.Context())
	if len(f.rollouts) != 1 || !strings.Contains(f.policies[0].Waiting, "not tried again") {
		t.Errorf("what failed is tried again: %d rollouts, %+v", len(f.rollouts), f.policies)
	}
}

// Of two versions that failed neither is tried again: not the one, then the other, then the one.
func TestWhatFailedBeforeTheLastFailureIsNotTriedAgain(t *testing.T) {
	f := newFleet(t, 2)
	f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "minor", Group: store.GroupAll}}
	f.offered = []catalogue.OfferedRelease{{Version: "1.2.0", Published: f.now.Add(-time.Hour)}, {Version: "1.1.0", Published: f.now.Add(-time.Hour)}}
	f.server = []store.Assignment{{Instance: plugin, Plugin: plugin, Version: "1.0.0"}}
	f.upgrade = errors.New("it went back")
	for _, v := range []string{"1.1.0", "1.2.0"} {
		f.rollouts[v] = store.Rollout{ID: v, Plugin: plugin, Version: v, State: store.RolloutRolledBack}
	}
	for range 4 {
		f.Update(t.Context())
	}
	if len(f.rollouts) != 2 || len(f.upgraded) != 0 || !strings.Contains(f.policies[0].Waiting, "not tried again") {
		t.Errorf("%d rollouts, upgraded %v, %+v", len(f.rollouts), f.upgraded, f.policies)
	}
	f.rollouts, f.policies[0].Failed = map[string]store.Rollout{}, ""
	for range 4 {
		f.Update(t.Context())
	}
	if !slices.Equal(f.upgraded, []string{plugin + " 1.2.0 " + By, plugin + " 1.1.0 " + By}) {
		t.Errorf("on the server: %v", f.upgraded)
	}
}

func TestAPolicyNeverGrowsGrants(t *testing.T) {
	f := newFleet(t, 2)
	f.missing = []sdk.Permission{{Cap: sdk.CapExec, Reason: "It runs things."}}
	f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "minor", Group: store.GroupAll}}
	f.offered = []catalogue.OfferedRelease{{Version: "1.1.0", Published: f.now}}
	f.server = []store.Assignment{{Instance: plugin, Plugin: plugin, Version: "1.0.0"}}
	f.Update(t.Context())
	if len(f.upgraded) != 0 {
		t.Errorf("upgraded on the server: %v", f.upgraded)
	}
	for _, r := range f.rollouts {
		f.want(r.ID, store.RolloutWaiting, "1.0.0 1.0.0")
	}
	if !strings.Contains(f.policies[0].Waiting, "asks for more") {
		t.Errorf("%+v", f.policies)
	}
	f.Update(t.Context()) // the rollout still waits, and so the policy says the same
	if len(f.rollouts) != 1 || !strings.Contains(f.policies[0].Waiting, "asks for more") {
		t.Errorf("%d rollouts, %+v", len(f.rollouts), f.policies)
	}
}

// What was done by policy is in the audit log under its own name.
func TestUpdatesByPolicyAreAudited(t *testing.T) {
	f := newFleet(t, 1)
	f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "patch", Group: store.GroupAll}}
	f.offered = []catalogue.OfferedRelease{{Version: "1.0.1", Published: f.now}}
	f.server = []store.Assignment{{Instance: plugin, Plugin: plugin, Version: "1.0.0"}}
	f.Update(t.Context())
	all := strings.Join(f.audited, "\n")
	for _, want := range []string{By + " plugin.upgrade version 1.0.1", By + " rollout.create version 1.0.1"} {
		if !strings.Contains(all, want) {
			t.Errorf("the audit log lacks %q:\n%s", want, all)
		}
	}
}

// Who asks for it has the policies looked at now, not in an hour.
func TestConsider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 1)
		f.policies = []store.UpdatePolicy{{Plugin: plugin, Auto: "patch", Group: store.GroupAll}}
		go f.Run(t.Context())
		time.Sleep(2 * every)
		synctest.Wait()
		f.offered = []catalogue.OfferedRelease{{Version: "1.0.1", Published: f.now}}
		time.Sleep(2 * every)
		synctest.Wait()
		if len(f.rollouts) != 0 {
			t.Errorf("taken before anybody asked: %v", f.rollouts)
		}
		f.Consider()
		synctest.Wait()
		if len(f.rollouts) != 1 {
			t.Errorf("%d rollouts", len(f.rollouts))
		}
	})
}
