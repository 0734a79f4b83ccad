package store

import (
	"context"
	"time"
)

const (
	maxNear       = 2000  // marks of one key that are compared, the latest in traffic first
	maxRemembered = 50000 // marks of one key that a transaction keeps in memory; where there are more, it asks for each alert
	maxOfAllKeys  = 500000
)

// neighbours are the marks that one transaction compares its alerts with. Those of a key are read once, for all alerts that have it.
type neighbours struct {
	q     querier
	reach time.Duration
	most  int // marks of a key that are remembered
	room  int // for marks of all keys
	spans map[markKey]lapse
	known map[markKey]remembered
	by    map[string][]*neighbour // by alert, of those that are remembered
	went  map[string]string       // incidents that went into others meanwhile
}

type markKey struct{ tenant, key string }

// lapse is a time in microseconds.
type lapse struct{ from, to int64 }

// remembered are the marks of a key, the latest first.
type remembered struct {
	list    []neighbour
	tooMany bool // it has none of them
}

// neighbour is a mark of an alert that is in an incident.
type neighbour struct {
	alert       string
	group       markGroup
	first, last int64
}

// markGroup is what marks have in common that are compared as one.
type markGroup struct{ role, source, incident string }

func newNeighbours(q querier, reach time.Duration) *neighbours {
	return &neighbours{q: q, reach: reach, most: maxRemembered, room: maxOfAllKeys, spans: map[markKey]lapse{}, known: map[markKey]remembered{}, by: map[string][]*neighbour{}, went: map[string]string{}}
}

// within is when the neighbours of an alert are seen.
func (n *neighbours) within(a Alert) lapse {
	return lapse{micros(a.FirstSeen.Add(-n.reach)), micros(a.LastSeen.Add(n.reach))}
}

// expect notes that an alert will be compared. All that will be are marked and noted before the first is.
func (n *neighbours) expect(m marked) {
	s := n.within(m.alert)
	for _, k := range m.marks {
		key := markKey{m.alert.Tenant, k.Key}
		all, ok := n.spans[key]
		if !ok {
			all = s
		}
		n.spans[key] = lapse{min(all.from, s.from), max(all.to, s.to)}
	}
}

// joined notes that an alert came into an incident.
func (n *neighbours) joined(alert, incident string) {
	for _, k := range n.by[alert] {
		k.group.incident = incident
	}
}

// merged notes that an incident went into another.
func (n *neighbours) merged(into, from string) { n.went[from] = into }

// near are the marks of others within reach that have a key of the alert, those of one host in one incident as one. As all of
// them lie within reach, the first beginning and the last end say as much as each by itself.
func (n *neighbours) near(ctx context.Context, m marked) (near []IncidentMark, err error) {
	s := n.within(m.alert)
	for _, k := range m.marks {
		if k.Role == MarkAt {
			continue
		}
		key := markKey{m.alert.Tenant, k.Key}
		known, err := n.remember(ctx, key)
		if err == nil && known.tooMany {
			known.list, err = n.read(ctx, key, s, maxNear+len(m.marks)) // its own are among them
		}
		if err != nil {
			return nil, err
		}
		near = n.gather(near, key.key, m.alert.ID, s, known.list)
	}
	return near, nil
}

// remember reads what any alert of the transaction may be compared with.
func (n *neighbours) remember(ctx context.Context, key markKey) (remembered, error) {
	known, ok := n.known[key]
	if ok {
		return known, nil
	}
	most := min(n.most, n.room)
	list, err := n.read(ctx, key, n.spans[key], most+1)
	if err != nil {
		return remembered{}, err
	}
	if known = (remembered{list: list}); len(list) > most {
		known = remembered{tooMany: true}
	}
	n.room -= len(known.list)
	for i := range known.list {
		k := &known.list[i]
		n.by[k.alert] = append(n.by[k.alert], k)
	}
	n.known[key] = known
	return known, nil
}

func (n *neighbours) read(ctx context.Context, key markKey, s lapse, limit int) ([]neighbour, error) {
	return collect(ctx, n.q, func(r row) (k neighbour, err error) {
		return k, r.Scan(&k.alert, &k.group.role, &k.group.source, &k.group.incident, &k.first, &k.last)
	}, `SELECT k.alert_id, k.role, k.source, a.incident_id, k.first_seen, k.last_seen FROM incident_marks k CROSS JOIN alerts a ON a.id = k.alert_id
		WHERE k.tenant = ? AND k.key = ? AND k.last_seen >= ? AND k.first_seen <= ? AND k.role <> 'at' ORDER BY k.last_seen DESC LIMIT ?`,
		key.tenant, key.key, s.from, s.to, limit)
}

// gather adds those of others among the marks of a key.
func (n *neighbours) gather(near []IncidentMark, key, alert string, within lapse, list []neighbour) []IncidentMark {
	spans, order := map[markGroup]*lapse{}, []markGroup(nil)
	var latest markGroup
	var of *lapse
	left := maxNear
	for i := range list {
		k := &list[i]
		if left == 0 || k.last < within.from { // as are those behind it
			break
		}
		if k.alert == alert || k.first > within.to {
			continue
		}
		left--
		n.settle(&k.group)
		if of == nil || k.group != latest {
			if latest, of = k.group, spans[k.group]; of == nil {
				of = &lapse{k.first, k.last}
				spans[latest], order = of, append(order, latest)
			}
		}
		of.from = min(of.from, k.first)
	}
	for _, g := range order {
		s := spans[g]
		near = append(near, IncidentMark{Key: key, Role: g.role, Source: g.source, IncidentID: g.incident, FirstSeen: fromMicros(s.from), LastSeen: fromMicros(s.to)})
	}
	return near
}

// settle names the incident that the one of a mark went into.
func (n *neighbours) settle(g *markGroup) {
	if len(n.went) == 0 {
		return
	}
	for into, ok := n.went[g.incident]; ok; into, ok = n.went[g.incident] {
		g.incident = into
	}
}
