package incident

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	maxEntities = 100 // hosts of an incident that are listed
	maxDeeds    = 3   // of one host in a title
)

// Roles of an entity.
const (
	Attacker = "attacker"
	Target   = "target"
	Pivot    = "pivot" // a target that then attacked
)

// entities are the hosts that take part: those that act first, then by how many alerts name them.
func entities(alerts []store.IncidentAlert) []store.IncidentEntity {
	at := map[string]*store.IncidentEntity{}
	note := func(h, role, device string) {
		if h == "" {
			return
		}
		e := at[h]
		if e == nil {
			e = &store.IncidentEntity{Host: h, Role: role}
			at[h] = e
		}
		if e.Role != role {
			e.Role = Pivot
		}
		e.Device = cmp.Or(e.Device, device)
		e.Alerts++
	}
	for _, a := range alerts {
		note(host(a.Src), Attacker, a.SrcDevice)
		if host(a.Dst) != host(a.Src) {
			note(host(a.Dst), Target, a.DstDevice)
		}
	}
	list := []store.IncidentEntity{}
	for _, e := range at {
		list = append(list, *e)
	}
	order := []string{Attacker, Pivot, Target}
	slices.SortFunc(list, func(a, b store.IncidentEntity) int {
		return cmp.Or(slices.Index(order, a.Role)-slices.Index(order, b.Role), b.Alerts-a.Alerts, strings.Compare(a.Host, b.Host))
	})
	return list
}

// actor is what one host did.
type actor struct {
	host  string
	risk  float64
	first time.Time
	deeds []act
}

type act struct {
	words   string
	rank    int // severity
	stage   int // in the kill chain
	first   time.Time
	targets []string
}

// title says who did what to whom, the worst two hosts in the order they began, each with the worst it did in the order
// it did it.
func (r Rules) title(alerts []store.IncidentAlert) string {
	counted := slices.DeleteFunc(slices.Clone(alerts), func(a store.IncidentAlert) bool { return !counts(a) })
	if len(counted) == 0 {
		counted = alerts
	}
	actors := r.actors(counted)
	if len(actors) == 0 {
		worst := slices.MaxFunc(counted, func(a, b store.IncidentAlert) int {
			return cmp.Or(a.Severity.Rank()-b.Severity.Rank(), a.Risk-b.Risk, b.FirstSeen.Compare(a.FirstSeen), strings.Compare(b.ID, a.ID))
		})
		return worst.Title
	}
	others := len(actors) - 2
	actors = actors[:min(len(actors), 2)]
	slices.SortFunc(actors, func(a, b actor) int { return cmp.Or(a.first.Compare(b.first), strings.Compare(a.host, b.host)) })
	var said []string
	for _, a := range actors {
		said = append(said, a.sentence())
	}
	text := strings.Join(said, "; then ")
	if others > 0 {
		text += fmt.Sprintf("; %s more", count(others, "host"))
	}
	return text
}

// actors are the hosts that did something that has a name, the riskiest first.
func (r Rules) actors(alerts []store.IncidentAlert) []actor {
	by := map[string]*actor{}
	for _, a := range alerts {
		who := cmp.Or(host(a.Src), "several hosts")
		for _, id := range a.Techniques {
			words := deed(id)
			if words == "" {
				continue
			}
			x := by[who]
			if x == nil {
				x = &actor{host: who, first: a.FirstSeen}
				by[who] = x
			}
			weight, _ := r.weight(a)
			x.risk = max(x.risk, weight*float64(a.Risk))
			if a.FirstSeen.Before(x.first) {
				x.first = a.FirstSeen
			}
			x.did(words, a, slices.Index(killChain, stageOf(id)))
		}
	}
	var list []actor
	for _, x := range by {
		list = append(list, *x)
	}
	slices.SortFunc(list, func(a, b actor) int {
		return cmp.Or(cmp.Compare(b.risk, a.risk), a.first.Compare(b.first), strings.Compare(a.host, b.host))
	})
	return list
}

func (x *actor) did(words string, a store.IncidentAlert, stage int) {
	i := slices.IndexFunc(x.deeds, func(d act) bool { return d.words == words })
	if i < 0 {
		i = len(x.deeds)
		x.deeds = append(x.deeds, act{words: words, first: a.FirstSeen, stage: stage})
	}
	d := &x.deeds[i]
	d.rank = max(d.rank, a.Severity.Rank())
	d.stage = max(d.stage, stage)
	if a.FirstSeen.Before(d.first) {
		d.first = a.FirstSeen
	}
	if dst := host(a.Dst); dst != "" && !slices.Contains(d.targets, dst) {
		d.targets = append(d.targets, dst)
	}
}

func (x actor) sentence() string {
	did := slices.Clone(x.deeds)
	slices.SortFunc(did, func(a, b act) int { return cmp.Or(b.rank-a.rank, b.stage-a.stage, strings.Compare(a.words, b.words)) })
	did = did[:min(len(did), maxDeeds)]
	worst := did[0]
	slices.SortFunc(did, func(a, b act) int {
		return cmp.Or(a.first.Compare(b.first), a.stage-b.stage, strings.Compare(a.words, b.words))
	})
	var words []string
	for _, d := range did {
		words = append(words, d.words)
	}
	text := x.host + " " + strings.Join(words, ", then ")
	switch n := len(worst.targets); {
	case n == 1:
		text += ", against " + worst.targets[0]
	case n > 1:
		text += fmt.Sprintf(", against %d hosts", n)
	}
	return text
}
