package catalogue

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
)

// What a node last said of the version before says nothing of the new one, whatever its clock shows.
func TestWorks(t *testing.T) {
	then := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // by a clock that is years behind
	later := then.Add(time.Second)
	was := sight{since: then, upgrade: then, restarts: 5}
	in := func(version string, state pluginhost.State, since time.Time) Instance {
		return Instance{Version: version, State: state, Since: &since, Reason: "because", Restarts: 5}
	}
	with := func(i Instance, change func(*Instance)) Instance { change(&i); return i }
	failed := func(began time.Time) func(*Instance) {
		return func(i *Instance) {
			i.Upgrade = &pluginhost.Upgrade{To: "2.0.0", State: pluginhost.UpgradeFailed, Reason: "it cannot", Began: began}
		}
	}
	for name, c := range map[string]struct {
		i  Instance
		ok bool
		no string
	}{
		"it works":                        {in("2.0.0", pluginhost.Ready, later), true, ""},
		"the old one works":               {in("1.0.0", pluginhost.Ready, then), false, ""},
		"the old one is refused":          {in("1.0.0", pluginhost.Refused, then), false, ""},
		"the old one has just been":       {in("1.0.0", pluginhost.Refused, later), false, ""},
		"the same was refused before":     {in("2.0.0", pluginhost.Refused, then), false, ""},
		"it is refused":                   {in("2.0.0", pluginhost.Refused, later), false, "refused: because"},
		"it is quarantined":               {in("2.0.0", pluginhost.Quarantined, later), false, "quarantined: because"},
		"an upgrade that failed before":   {with(in("1.0.0", pluginhost.Ready, then), failed(then)), false, ""},
		"its upgrade failed":              {with(in("1.0.0", pluginhost.Ready, then), failed(later)), false, "it cannot"},
		"the old one had stopped often":   {in("2.0.0", pluginhost.Backoff, later), false, ""},
		"it stops again and again":        {with(in("2.0.0", pluginhost.Backoff, later), func(i *Instance) { i.Restarts = 7 }), false, "it stops again and again: because"},
		"it does so since the node began": {with(in("2.0.0", pluginhost.Backoff, later), func(i *Instance) { i.Restarts = 2 }), false, "it stops again and again: because"},
	} {
		if ok, no := works(c.i, "2.0.0", was); ok != c.ok || no != c.no {
			t.Errorf("%s: %t, %q", name, ok, no)
		}
	}
}
