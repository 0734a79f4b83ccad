package metricrule

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/picketwatch/picket/core/kernel/store"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// TestAgainstAReference compares flapping series with rules told in one sentence each: it fires when it was found at each look for
// as long as For, and ends when it was not, or not held, for as long as Keep.
func TestAgainstAReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const every = 10 * time.Second
		r := store.MetricRule{Every: 10, For: store.Seconds(rapid.IntRange(0, 6).Draw(t, "for") * 10), Keep: store.Seconds(rapid.IntRange(0, 6).Draw(t, "keep") * 10)}
		found := rapid.SliceOfN(rapid.Bool(), 1, 60).Draw(t, "found")
		stays := rapid.SliceOfN(rapid.Bool(), len(found), len(found)).Draw(t, "stays")
		hysteresis := rapid.Bool().Draw(t, "hysteresis")

		var held []store.RuleInstance
		firing, run, lost := false, 0, 0
		for i := range found {
			now := start.Add(time.Duration(i) * every)
			l := look{found: map[string]store.RuleInstance{}, known: map[string]bool{"x": true}}
			if found[i] {
				l.found["x"] = store.RuleInstance{Instance: "x", Value: float64(i)}
			}
			holds := found[i]
			if hysteresis {
				l.stays = map[string]bool{}
				if stays[i] {
					l.stays["x"] = true
				}
				holds = holds || firing && stays[i]
			}
			held, _ = advance(r, held, l, now)

			switch {
			case holds:
				run, lost = run+1, 0
			default:
				run, lost = 0, lost+1
			}
			switch {
			case !firing && run > 0 && time.Duration(run-1)*every >= r.For.Duration():
				firing = true
			case firing && lost > 0 && time.Duration(lost)*every >= r.Keep.Duration():
				firing = false
			}
			if got := len(held) == 1 && held[0].Firing; got != firing {
				t.Fatalf("look %d: firing %t, want %t (for %d s, keep %d s, found %v, stays %v)", i, got, firing, r.For, r.Keep, found[:i+1], stays[:i+1])
			}
		}
	})
}

func TestDataThatAreGone(t *testing.T) {
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	firing := []store.RuleInstance{{Instance: "x", Firing: true, Since: at(0), Held: at(0)}}
	none := look{found: map[string]store.RuleInstance{}, known: map[string]bool{}}
	for _, c := range []struct {
		noData string
		after  int
		want   bool
	}{{store.NoDataEnds, 9, true}, {store.NoDataEnds, 10, false}, {store.NoDataKeeps, 600, true}} {
		held, over := advance(store.MetricRule{Every: 60, NoData: c.noData}, firing, none, at(c.after))
		if got := len(held) == 1; got != c.want || got == (len(over) == 1) {
			t.Errorf("%s, %d minutes without data: held %v, over %v", c.noData, c.after, held, over)
		}
	}

	r := store.MetricRule{Every: 60, For: 120, NoData: store.NoDataFires, Title: "a", Summary: "{host} is {value}"}
	gone := look{found: map[string]store.RuleInstance{}, known: map[string]bool{},
		missed: map[string]store.RuleInstance{"x": {Instance: "x", NoData: true, Labels: map[string]string{"host": "h"}}}}
	held, _ := advance(r, nil, gone, at(10))
	held, _ = advance(r, held, gone, at(11))
	if held[0].Firing {
		t.Error("fires before its time")
	}
	held, _ = advance(r, held, none, at(12)) // ten minutes ago there were none, either
	if !held[0].Firing || !held[0].NoData {
		t.Errorf("%+v does not fire", held[0])
	}
	if got := Summary(r, held[0]); got != "h is 0 (it sends no more data)" {
		t.Error(got)
	}
	held, over := advance(r, held, look{known: map[string]bool{"x": true}}, at(13))
	if len(held) != 0 || len(over) != 1 {
		t.Errorf("data are back: held %v, over %v", held, over)
	}
}

func TestAnOutageIsNotTimeThatARuleHeld(t *testing.T) {
	r := store.MetricRule{Every: 30, For: 600}
	l := look{found: map[string]store.RuleInstance{"x": {Instance: "x"}}}
	held, _ := advance(r, nil, l, start)
	held, _ = advance(r, held, l, start.Add(time.Hour))
	if held[0].Firing {
		t.Error("fires after an hour in which nobody looked")
	}
	held, _ = advance(r, held, l, start.Add(time.Hour+4*time.Minute))
	held, _ = advance(r, held, l, start.Add(time.Hour+8*time.Minute))
	held, _ = advance(r, held, l, start.Add(time.Hour+12*time.Minute))
	if !held[0].Firing {
		t.Error("does not fire")
	}
}

func TestSummary(t *testing.T) {
	x := store.RuleInstance{Labels: map[string]string{"agent_name": "web", "agent_id": "1", "mount": "/data"}, Value: 0.9512}
	for text, want := range map[string]string{
		"{agent_name}: {mount} is {value%} full": "web: /data is 95.1 % full",
		"{value} {nothing} {open":                "0.951 ? {open",
		"":                                       "Disk full: web mount=/data",
	} {
		if got := Summary(store.MetricRule{Title: "Disk full", Summary: text}, x); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
