package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// byHosts are rules of two keys an alert, by which incidents meet and merge.
type byHosts struct{ bySource }

func (byHosts) Marks(a IncidentAlert) []IncidentMark {
	mark := func(role, key string) IncidentMark {
		return IncidentMark{Key: key, Role: role, Source: a.Src, FirstSeen: a.FirstSeen, LastSeen: a.LastSeen}
	}
	return []IncidentMark{mark(MarkBy, a.Src), mark(MarkOn, a.Dst), mark(MarkAt, a.Title)}
}

// asked are the neighbours of an alert as the store says them when it is asked for each anew.
func asked(ctx context.Context, tx *sql.Tx, m marked, reach time.Duration) (near []IncidentMark, err error) {
	for _, k := range m.marks {
		if k.Role == MarkAt {
			continue
		}
		found, err := collect(ctx, tx, func(r row) (n IncidentMark, err error) {
			n.Key = k.Key
			err = r.Scan(&n.Role, &n.Source, &n.IncidentID, stamp(&n.FirstSeen), stamp(&n.LastSeen))
			return n, err
		}, `SELECT k.role, k.source, a.incident_id, min(k.first_seen), max(k.last_seen) FROM (SELECT * FROM incident_marks
				WHERE tenant = ? AND key = ? AND last_seen >= ? AND first_seen <= ? AND role <> 'at' AND alert_id <> ? ORDER BY last_seen DESC LIMIT ?) k
			JOIN alerts a ON a.id = k.alert_id GROUP BY k.role, k.source, a.incident_id`,
			m.alert.Tenant, k.Key, micros(m.alert.FirstSeen.Add(-reach)), micros(m.alert.LastSeen.Add(reach)), m.alert.ID, maxNear)
		if err != nil {
			return nil, err
		}
		near = append(near, found...)
	}
	return near, nil
}

// What is remembered of the neighbours is what the store would say of each alert, whatever was joined and merged in between, and
// where there are more of them than are compared.
func TestRememberedNeighboursAreThoseOfTheStore(t *testing.T) {
	for _, c := range []struct{ most, room int }{{maxRemembered, maxOfAllKeys}, {500, maxOfAllKeys}, {maxRemembered, 700}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) { testNeighbours(t, c.most, c.room) })
	}
}

func testNeighbours(t *testing.T, most, room int) {
	t.Helper()
	c, _ := openControl(t)
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Unix(1_700_000_000, 0)
	const alerts = 2600
	var found []Alert
	for i := range alerts {
		src, dst := fmt.Sprint("h", r.IntN(12)), fmt.Sprint("h", r.IntN(60))
		if i > 200 {
			src = "busy" // whose marks are more than are compared
		}
		first := at.Add(time.Duration(r.IntN(3*86400)) * time.Second)
		found = append(found, Alert{ID: fmt.Sprintf("a%04d", i), Tenant: DefaultTenant, Fingerprint: fmt.Sprint(i), Severity: sdk.SeverityLow, Src: src, Dst: dst,
			Title: "t", Techniques: []string{}, FirstSeen: first, LastSeen: first.Add(time.Duration(r.IntN(7200)) * time.Second), Count: 1, State: AlertFiring})
	}
	merged, crowded := 0, false
	must(t, c.write(t.Context(), func(tx *sql.Tx) error {
		for half := range 2 {
			g := newGathering(tx, at, byHosts{})
			g.neighbours.most, g.neighbours.room = most, room
			var all []marked
			for _, a := range found[half*alerts/2 : (half+1)*alerts/2] {
				if err := putAlert(t.Context(), tx, a); err != nil {
					return err
				}
				m, err := g.mark(t.Context(), a.ID)
				if err != nil {
					return err
				}
				g.neighbours.expect(m)
				all = append(all, m)
			}
			for i, m := range all {
				near, err := g.neighbours.near(t.Context(), m)
				if err != nil {
					return err
				}
				if i%20 == 0 || i < 100 { // each takes the store its time
					want, err := asked(t.Context(), tx, m, g.rules.Reach())
					if err != nil {
						return err
					}
					sortMarks(near)
					sortMarks(want)
					if !slices.Equal(near, want) {
						t.Fatalf("%s: %+v, want %+v", m.alert.ID, near, want)
					}
				}
				if err := g.join(t.Context(), m.alert, g.rules.Joins(m.marks, near)); err != nil {
					return err
				}
			}
			merged += len(g.merged)
			busy := g.neighbours.known[markKey{DefaultTenant, "busy"}]
			crowded = crowded || busy.tooMany || len(busy.list) > maxNear
		}
		return nil
	}))
	if merged < 5 || !crowded {
		t.Errorf("no test of it: %d incidents merged, more neighbours than are compared: %v", merged, crowded)
	}
}

func sortMarks(list []IncidentMark) {
	slices.SortFunc(list, func(a, b IncidentMark) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Source, b.Source), cmp.Compare(a.IncidentID, b.IncidentID))
	})
}
