package promql

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"weak"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// What a selector found is held, and an answer is nevertheless of now: of the newest values, of new series and of agents that have
// got another name. Another tenant's agents do not show.
func TestARememberedSelectorAnswersOfNow(t *testing.T) {
	telemetry := openTelemetry(t, 2026)
	now := time.Date(2026, 12, 31, 23, 0, 0, 0, time.UTC)
	agents := map[string][]store.AgentName{"t": {{ID: "a1", Name: "one"}, {ID: "a2", Name: "two"}}, "other": {{ID: "a1", Name: "theirs"}}}
	engine := New(Config{Samples: telemetry, Now: func() time.Time { return now }, Agents: func(_ context.Context, tenant string) ([]store.AgentName, error) {
		return append([]store.AgentName{}, agents[tenant]...), nil
	}})
	seq := uint64(0)
	send := func(tenant, agent string, value float64) {
		t.Helper()
		seq++
		res, err := telemetry.Append(t.Context(), store.SampleBatch{Tenant: tenant, Agent: agent, Epoch: "e", Seq: seq, Samples: []sdk.Sample{{Metric: "level", Type: sdk.Gauge, Time: now, Value: value}}})
		if err != nil || res.Stored != 1 {
			t.Fatal(res, err)
		}
	}
	answers := func(tenant string, parts ...string) {
		t.Helper()
		a, err := engine.Query(t.Context(), tenant, `sort(level)`, now, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		var b strings.Builder
		if err := a.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if strings.Count(got, `"value"`) != len(parts)/2 {
			t.Errorf("%d series, not %d: %s", strings.Count(got, `"value"`), len(parts)/2, got)
		}
		for i, part := range parts {
			if !strings.Contains(got, `"`+part+`"`) {
				t.Errorf("%q (%d) is not in %s", part, i, got)
			}
		}
	}
	send("t", "a1", 1)
	answers("t", "one", "1")
	send("other", "a1", 77)
	answers("other", "theirs", "77")
	now = now.Add(time.Minute)
	send("t", "a1", 5)
	answers("t", "one", "5")
	send("t", "a2", 6)
	answers("t", "one", "5", "two", "6")
	agents["t"][0].Name = "first"
	now = now.Add(directoryAge)
	answers("t", "first", "5", "two", "6")
	answers("other", "theirs", "77")
	if n := len(engine.memory.held); n != 2 {
		t.Errorf("%d selectors are remembered, of two tenants with one each", n)
	}
}

// What is remembered is bounded: what was used longest ago goes first, and what is larger than all of it is not kept.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	var m memory
	of := func(n int) remembered {
		return remembered{list: []found{{from: make([]store.KnownSeries, n-1)}}}
	}
	m.keep("first", of(maxRemembered/2))
	m.keep("second", of(maxRemembered/4))
	if _, ok := m.recall("first", remembered{}, nobody{}); !ok {
		t.Fatal("what was just found is not remembered")
	}
	m.keep("third", of(maxRemembered/2))
	m.keep("too much", of(maxRemembered+1))
	for key, want := range map[string]bool{"first": true, "second": false, "third": true, "too much": false} {
		if _, ok := m.recall(key, remembered{}, nobody{}); ok != want {
			t.Errorf("%s is remembered: %t", key, ok)
		}
	}
	if m.keep("third", of(2)); m.size != maxRemembered/2+2 {
		t.Errorf("%d series are counted", m.size)
	}
}

// nobody has no series.
type nobody struct{ Samples }

func (nobody) Refresh([]store.KnownSeries) {}

// The text of selectors takes room, too, however little they find.
func TestSelectorsThatAreRememberedAreBounded(t *testing.T) {
	var m memory
	long := strings.Repeat("x", 100*seriesBytes)
	for i := range 1000 {
		m.keep(long+strconv.Itoa(i), remembered{})
	}
	if n := len(m.held); n > maxRemembered/100 {
		t.Errorf("%d selectors of %d bytes are remembered", n, len(long))
	}
}

// What is out of date is not kept alive by a selector that nobody asks for any more.
func TestWhatIsOutOfDateIsNotHeld(t *testing.T) {
	var m memory
	book := &phoneBook{list: make([]store.AgentName, 10)}
	names := &nameTable{names: make([]string, 10)}
	m.keep("a", remembered{names: weak.Make(names), agents: weak.Make(book)})
	if _, ok := m.recall("a", remembered{names: weak.Make(names), agents: weak.Make(book)}, nobody{}); !ok {
		t.Error("what is up to date is not remembered")
	}
	if _, ok := m.recall("a", remembered{names: weak.Make(names), agents: weak.Make(&phoneBook{})}, nobody{}); ok {
		t.Error("what is out of date is recalled")
	}
	oldNames, oldBook := weak.Make(names), weak.Make(book)
	runtime.KeepAlive(names)
	runtime.KeepAlive(book)
	runtime.GC()
	if oldNames.Value() != nil || oldBook.Value() != nil {
		t.Error("tables of names and agents live as long as the selector")
	}
}
