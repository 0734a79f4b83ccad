package rollout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/catalogue"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	flows = `{"cap":"flows.read"}`
	dials = `{"cap":"net.dial","args":{"hosts":["db.example"]}}`
)

// lab is a fleet of which the agents 0 and 1 are in a group that was granted more than the rest. The next version asks for
// one permission less, so that what each runs with is another list than before.
func lab(t *testing.T) *fleet {
	t.Helper()
	f := newFleet(t, 4)
	for i := range f.agents {
		row := &f.agents[i].Row
		row.NodeType, row.Grants = store.NodeAgents, json.RawMessage("["+flows+"]")
		if i < 2 {
			f.agents[i].Agent.Group, row.Grants = "lab", json.RawMessage("["+flows+","+dials+"]")
		}
	}
	f.suits = func(row store.Assignment) json.RawMessage {
		if strings.Contains(string(row.Grants), "net.dial") {
			return json.RawMessage("[" + dials + "]")
		}
		return json.RawMessage("[]")
	}
	return f
}

// What was granted to one group is nobody else's when a rollout to all is settled, and the group keeps it.
func TestARolloutGivesNobodyWhatOthersHave(t *testing.T) {
	f := lab(t)
	r := f.create(store.Rollout{CanaryPercent: 100})
	f.obey()
	f.obey()
	f.want(r.ID, store.RolloutDone, "1.1.0 1.1.0 1.1.0 1.1.0")
	var got []string
	for _, s := range f.settled {
		got = append(got, fmt.Sprintf("%q %s", s.Group, s.Grants))
	}
	if want := []string{`"" []`, `"lab" [` + dials + `]`}; !slices.Equal(got, want) {
		t.Errorf("settled %q, want %q", got, want)
	}
}

// Nor does an agent that comes while it is under way get what others have.
func TestWhoJoinsGetsWhatItsLikeHave(t *testing.T) {
	f := lab(t)
	r := f.create(store.Rollout{CanaryPercent: 100, Soak: time.Hour})
	f.newcomer("late")
	f.agent("late").Row.Grants = json.RawMessage("[" + flows + "]")
	f.newcomer("odd")
	f.agent("odd").Row.Grants = json.RawMessage(`[{"cap":"host.metrics"}]`)
	f.look()
	got := map[string]string{}
	for _, n := range f.rollouts[r.ID].Nodes {
		got[n.ID] = string(n.ToGrants)
	}
	if odd, joined := got["odd"]; got["late"] != "[]" || joined {
		t.Errorf("late got %s, odd %q %t", got["late"], odd, joined)
	}
}

// A person takes grants back while a rollout waits, or while most agents wait for its canaries. They do not come back with it,
// whether it goes on or is halted.
func TestWhatWasTakenBackMeanwhileStaysTakenBack(t *testing.T) {
	f := lab(t)
	f.suits, f.granted = nil, json.RawMessage("["+flows+"]")
	f.missing = []sdk.Permission{{Cap: sdk.CapNetDial}}
	r := f.create(store.Rollout{CanaryPercent: 100})
	f.want(r.ID, store.RolloutWaiting, "1.0.0 1.0.0 1.0.0 1.0.0")
	for i := range f.agents {
		f.agents[i].Row.Grants = json.RawMessage("[]")
	}
	got, err := f.Resume(t.Context(), r.ID, "user:ada", catalogue.Grants{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range got.Nodes {
		if string(n.FromGrants) != "[]" {
			t.Errorf("%s would go back to %s", n.ID, n.FromGrants)
		}
	}

	f = lab(t)
	r = f.create(store.Rollout{CanaryPercent: 1, Soak: time.Hour})
	for _, n := range r.Nodes {
		if n.State == store.NodeWaiting {
			f.agent(n.ID).Row.Grants = json.RawMessage("[]")
		}
	}
	f.look()
	for _, n := range f.rollouts[r.ID].Nodes {
		if n.State == store.NodeWaiting {
			t.Errorf("%s would get %s", n.ID, n.ToGrants)
		}
	}
}

func TestCommon(t *testing.T) {
	const wide = `{"cap":"net.dial"}`
	for _, c := range []struct{ a, b, want string }{
		{"[" + dials + "]", "[" + dials + "]", "[" + dials + "]"},
		{"[" + wide + "]", "[" + dials + "]", "[" + dials + "]"},
		{"[" + dials + "]", "[" + wide + "]", "[" + dials + "]"},
		{"[" + flows + "]", "[" + dials + "]", "[]"},
		{"", "[" + dials + "]", "[]"},
		{"nonsense", "[" + dials + "]", "[]"},
		{"null", "", "null"},
	} {
		if got := string(common(json.RawMessage(c.a), json.RawMessage(c.b))); !sameGrants(json.RawMessage(got), json.RawMessage(c.want)) {
			t.Errorf("%s and %s: %s, want %s", c.a, c.b, got, c.want)
		}
	}
}
