package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// States of an incident.
const (
	IncidentOpen         = "open"
	IncidentAcknowledged = "acknowledged"
	IncidentClosed       = "closed"
)

// Roles of a mark.
const (
	MarkBy = "by" // the host that acts
	MarkOn = "on" // a target from which the attack may lead on
	MarkAt = "at" // any other target
	MarkAs = "as" // an account that the host that acts used
)

// Incident is alerts that belong together.
type Incident struct {
	ID, Tenant, State, Title string
	Severity                 sdk.Severity
	Risk                     int
	Confidence               float64
	FirstSeen, LastSeen      time.Time
	Alerts                   int
	Entities                 []IncidentEntity
	EntityCount              int // of which Entities are the first
	Stages                   []IncidentStage
	Arithmetic               []IncidentStep
	Judged                   IncidentJudged
	MergedInto               string // the older incident that this one turned out to be; "" for none
	Owner                    string // who looks after it; "" for nobody
	Created, Updated         time.Time
}

// IncidentJudged is what judgements of people changed of the risk.
type IncidentJudged struct {
	Before int `json:"before"` // the risk had nobody judged anything
	True   int `json:"true"`   // alerts that were judged so: those of the incident, and others of the same rules and hosts
	False  int `json:"false"`
	Benign int `json:"benign"`
}

// Any reports whether anything was judged.
func (j IncidentJudged) Any() bool { return j.True+j.False+j.Benign > 0 }

// IncidentEntity is a host that takes part.
type IncidentEntity struct {
	Host   string `json:"host"`
	Role   string `json:"role"` // attacker, target, or pivot: a target that then attacked
	Device string `json:"device,omitempty"`
	Alerts int    `json:"alerts"`
}

// IncidentStage is one tactic that was seen, with the techniques that show it.
type IncidentStage struct {
	Tactic     string              `json:"tactic"` // its ATT&CK id
	Name       string              `json:"name"`
	Techniques []IncidentTechnique `json:"techniques"`
}

// IncidentTechnique is an ATT&CK technique.
type IncidentTechnique struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// IncidentStep is one line of the arithmetic that leads to the risk or the confidence.
type IncidentStep struct {
	Of    string  `json:"of"`    // risk or confidence
	Value float64 `json:"value"` // after this step, or of this part
	Why   string  `json:"why"`
}

// IncidentMark says by which key an alert is found as a neighbour.
type IncidentMark struct {
	Key, Role, Source   string
	IncidentID          string // set on reading
	FirstSeen, LastSeen time.Time
}

// IncidentAlert is an alert as an incident weighs it.
type IncidentAlert struct {
	Alert
	Verdict              string // the newest judgement of this very alert; "" for none
	True, False, Benign  int    // judgements of other alerts of the same detector, rule and entity
	SrcDevice, DstDevice string // of the inventory; "" when it knows none
	Accounts             []Account
}

// IncidentRules say what belongs together and what that amounts to. They must be pure.
type IncidentRules interface {
	// Reach is how far apart in time neighbours may lie.
	Reach() time.Duration
	// Marks are those of an alert; none when it takes no part in incidents.
	Marks(a IncidentAlert) []IncidentMark
	// Joins names the incidents that alerts with such marks belong to. near are marks of other alerts with the same keys.
	Joins(mine, near []IncidentMark) []string
	// Describe fills in all but id, state and times of writing.
	Describe(alerts []IncidentAlert) Incident
}

const maxMembers = 2000 // alerts of an incident that are weighed, the riskiest first

const incidentColumns = "id, tenant, state, title, severity, risk, confidence, first_seen, last_seen, alerts, entities, entity_count, " +
	"stages, arithmetic, judged, merged_into, acknowledged_by, created, updated"

func scanIncident(r row) (i Incident, err error) {
	err = r.Scan(&i.ID, &i.Tenant, &i.State, &i.Title, &i.Severity, &i.Risk, &i.Confidence, stamp(&i.FirstSeen), stamp(&i.LastSeen),
		&i.Alerts, fromJSON(&i.Entities), &i.EntityCount, fromJSON(&i.Stages), fromJSON(&i.Arithmetic), fromJSON(&i.Judged),
		&i.MergedInto, &i.Owner, stamp(&i.Created), stamp(&i.Updated))
	return i, explain(err)
}

func putIncident(ctx context.Context, tx querier, i Incident) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO incidents ("+incidentColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET state = excluded.state, title = excluded.title, severity = excluded.severity, risk = excluded.risk,
		confidence = excluded.confidence, first_seen = excluded.first_seen, last_seen = excluded.last_seen, alerts = excluded.alerts,
		entities = excluded.entities, entity_count = excluded.entity_count, stages = excluded.stages, arithmetic = excluded.arithmetic,
		judged = excluded.judged, merged_into = excluded.merged_into, acknowledged_by = excluded.acknowledged_by, updated = excluded.updated`,
		i.ID, i.Tenant, i.State, i.Title, i.Severity, i.Risk, i.Confidence, micros(i.FirstSeen), micros(i.LastSeen), i.Alerts,
		toJSON(i.Entities), i.EntityCount, toJSON(i.Stages), toJSON(i.Arithmetic), toJSON(i.Judged), i.MergedInto, i.Owner, micros(i.Created), micros(i.Updated))
	return err
}

// GroupAlerts looks at alerts that are new or different, at most limit of them, and brings their incidents up to date in
// one transaction. It returns the incidents that changed, and how many alerts it looked at.
func (c *Control) GroupAlerts(ctx context.Context, limit int, rules IncidentRules) (changed []Incident, looked int, err error) {
	var waiting bool
	if err := c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM incident_pending)").Scan(&waiting); err != nil || !waiting {
		return nil, 0, explain(err)
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		pending, err := collect(ctx, tx, func(r row) (id string, err error) { return id, r.Scan(&id) },
			"DELETE FROM incident_pending WHERE alert_id IN (SELECT alert_id FROM incident_pending ORDER BY alert_id LIMIT ?) RETURNING alert_id", limit)
		if err != nil {
			return err
		}
		slices.Sort(pending)
		g := newGathering(tx, c.now(), rules)
		var found []marked
		for _, id := range pending { // all marks first: whether a target is crowded shows only then
			m, err := g.mark(ctx, id)
			if err != nil {
				return err
			}
			found = append(found, m)
			g.neighbours.expect(m)
		}
		for _, m := range found {
			if err := g.place(ctx, m); err != nil {
				return err
			}
		}
		looked = len(pending)
		changed, err = g.describe(ctx)
		return err
	})
	return changed, looked, err
}

// gathering is one transaction of GroupAlerts.
type gathering struct {
	tx         *repeated
	now        time.Time
	rules      IncidentRules
	touched    map[string]bool
	merged     []Incident
	neighbours *neighbours
	known      map[inventoryKey]string // devices that were looked up
	priors     map[priorKey]map[string]int
}

func newGathering(tx *sql.Tx, now time.Time, rules IncidentRules) *gathering {
	q := repeating(tx)
	return &gathering{tx: q, now: now, rules: rules, touched: map[string]bool{}, neighbours: newNeighbours(q, rules.Reach()),
		known: map[inventoryKey]string{}, priors: map[priorKey]map[string]int{}}
}

// inventoryKey is an address by which a device is looked up.
type inventoryKey struct{ tenant, host string }

const memberColumns = `a.id, a.tenant, a.fingerprint, a.state, a.severity, a.risk, a.confidence, a.title, a.detector, a.rule, a.techniques, a.src, a.dst,
	a.first_seen, a.last_seen, a.count, a.capture_id, a.agent, a.acknowledged_by, a.created, a.updated, a.incident_id,
	coalesce((SELECT f.verdict FROM feedback_alerts f WHERE f.alert_id = a.id ORDER BY f.feedback_id DESC LIMIT 1), '')`

func scanMember(r row) (m IncidentAlert, incident string, err error) {
	a := &m.Alert
	err = r.Scan(&a.ID, &a.Tenant, &a.Fingerprint, &a.State, &a.Severity, &a.Risk, &a.Confidence, &a.Title, &a.Detector, &a.Rule,
		fromJSON(&a.Techniques), &a.Src, &a.Dst, stamp(&a.FirstSeen), stamp(&a.LastSeen), &a.Count, &a.CaptureID, &a.Agent,
		&a.AcknowledgedBy, stamp(&a.Created), stamp(&a.Updated), &incident, &m.Verdict)
	return m, incident, explain(err)
}

// marked is an alert with its marks; none when it takes no part.
type marked struct {
	alert Alert
	marks []IncidentMark
}

// mark writes down by what an alert is found.
func (g *gathering) mark(ctx context.Context, id string) (marked, error) {
	m, incident, err := scanMember(g.tx.QueryRowContext(ctx, "SELECT "+memberColumns+" FROM alerts a WHERE a.id = ?", id))
	if err != nil {
		return marked{}, err
	}
	if err := g.devices(ctx, &m); err != nil {
		return marked{}, err
	}
	if m.Accounts, err = accountsOf(ctx, g.tx, id); err != nil {
		return marked{}, err
	}
	marks := g.rules.Marks(m)
	for _, k := range marks {
		_, err := g.tx.ExecContext(ctx, `INSERT INTO incident_marks (tenant, key, role, alert_id, source, first_seen, last_seen) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET source = excluded.source, first_seen = excluded.first_seen, last_seen = excluded.last_seen`,
			m.Tenant, k.Key, k.Role, m.ID, k.Source, micros(m.FirstSeen), micros(m.LastSeen))
		if err != nil {
			return marked{}, err
		}
	}
	if len(marks) == 0 && incident != "" {
		g.touched[incident] = true
	}
	return marked{m.Alert, marks}, nil
}

// place finds the incident of one alert.
func (g *gathering) place(ctx context.Context, m marked) error {
	if len(m.marks) == 0 {
		return nil
	}
	near, err := g.neighbours.near(ctx, m)
	if err != nil {
		return err
	}
	return g.join(ctx, m.alert, g.rules.Joins(m.marks, near))
}

// devices looks the hosts of an alert up in the inventory. An address that several devices have had names none of them.
func (g *gathering) devices(ctx context.Context, m *IncidentAlert) error {
	for _, of := range []struct {
		host string
		into *string
	}{{m.Src, &m.SrcDevice}, {hostOf(m.Dst), &m.DstDevice}} {
		if of.host == "" {
			continue
		}
		key := inventoryKey{m.Tenant, of.host}
		device, known := g.known[key]
		if !known {
			err := g.tx.QueryRowContext(ctx, `SELECT CASE WHEN count(*) = 1 THEN min(device_id) ELSE '' END FROM device_keys
				WHERE tenant = ? AND kind IN ('ip', 'mac') AND key = ?`, key.tenant, key.host).Scan(&device)
			if err != nil {
				return err
			}
			g.known[key] = device
		}
		*of.into = device
	}
	return nil
}

// join puts an alert into the oldest of its incidents, which takes in the others. Without any it begins one.
func (g *gathering) join(ctx context.Context, a Alert, joins []string) error {
	var now string // an alert before it in this batch may have moved it
	if err := g.tx.QueryRowContext(ctx, "SELECT incident_id FROM alerts WHERE id = ?", a.ID).Scan(&now); err != nil {
		return err
	}
	if now != "" {
		joins = append(joins, now)
	}
	joins = slices.DeleteFunc(joins, func(id string) bool { return id == "" })
	slices.Sort(joins) // ids begin with their time
	joins = slices.Compact(joins)
	if len(joins) == 0 {
		id, err := newID()
		if err != nil {
			return err
		}
		if err := putIncident(ctx, g.tx, Incident{ID: id, Tenant: a.Tenant, State: IncidentOpen, Created: g.now, Updated: g.now}); err != nil {
			return err
		}
		joins = []string{id}
	}
	oldest := joins[0]
	for _, younger := range joins[1:] {
		if err := g.merge(ctx, oldest, younger); err != nil {
			return err
		}
	}
	g.touched[oldest] = true
	if now != "" {
		return nil
	}
	g.neighbours.joined(a.ID, oldest)
	if _, err := g.tx.ExecContext(ctx, "UPDATE alerts SET incident_id = ? WHERE id = ?", oldest, a.ID); err != nil {
		return err
	}
	// It goes on, so it is not over.
	_, err := g.tx.ExecContext(ctx, "UPDATE incidents SET state = 'open' WHERE id = ? AND state = 'closed'", oldest)
	return err
}

// merge makes two incidents one. It is as open as the more open of them.
func (g *gathering) merge(ctx context.Context, into, from string) error {
	young, err := scanIncident(g.tx.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE id = ?", from))
	if err != nil {
		return err
	}
	for _, step := range []string{
		"UPDATE alerts SET incident_id = ?1 WHERE incident_id = ?2",
		"UPDATE feedback SET incident_id = ?1 WHERE incident_id = ?2",
		"UPDATE incident_notes SET incident_id = ?1 WHERE incident_id = ?2",
		"UPDATE incidents SET merged_into = ?1 WHERE id = ?2 OR merged_into = ?2",
		`UPDATE incidents SET state = (SELECT state FROM incidents WHERE id IN (?1, ?2)
			ORDER BY CASE state WHEN 'open' THEN 0 WHEN 'acknowledged' THEN 1 ELSE 2 END LIMIT 1) WHERE id = ?1`,
	} {
		if _, err := g.tx.ExecContext(ctx, step, into, from); err != nil {
			return err
		}
	}
	delete(g.touched, from)
	g.neighbours.merged(into, from)
	young.MergedInto = into
	g.merged = append(g.merged, young)
	return nil
}

// describe writes what the touched incidents have become.
func (g *gathering) describe(ctx context.Context) ([]Incident, error) {
	changed := g.merged
	for id := range g.touched {
		was, err := scanIncident(g.tx.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE id = ?", id))
		if err != nil {
			return nil, err
		}
		members, err := g.members(ctx, id)
		if err != nil {
			return nil, err
		}
		is := g.rules.Describe(members)
		is.ID, is.Tenant, is.State, is.Owner, is.Created, is.Updated = id, was.Tenant, was.State, was.Owner, was.Created, g.now
		if was.State == IncidentClosed && is.Severity.Rank() > was.Severity.Rank() { // it was closed as less than it is
			is.State = IncidentOpen
		}
		err = g.tx.QueryRowContext(ctx, "SELECT count(*), min(first_seen), max(last_seen) FROM alerts WHERE incident_id = ?", id).
			Scan(&is.Alerts, stamp(&is.FirstSeen), stamp(&is.LastSeen))
		if err == nil {
			err = putIncident(ctx, g.tx, is)
		}
		if err != nil {
			return nil, err
		}
		changed = append(changed, is)
	}
	return changed, nil
}

func (g *gathering) members(ctx context.Context, incident string) ([]IncidentAlert, error) {
	members, err := collect(ctx, g.tx, func(r row) (IncidentAlert, error) {
		m, _, err := scanMember(r)
		return m, err
	}, "SELECT "+memberColumns+" FROM alerts a WHERE a.incident_id = ? ORDER BY a.risk DESC, a.id LIMIT ?", incident, maxMembers)
	if err != nil {
		return nil, err
	}
	for i := range members {
		m := &members[i]
		if err := g.devices(ctx, m); err != nil {
			return nil, err
		}
		if err := g.prior(ctx, m); err != nil {
			return nil, err
		}
	}
	return members, nil
}

// priorKey names the alerts whose judgements count for each other; with the tenant alone whether there are any.
type priorKey struct{ tenant, detector, rule, entity string }

// prior counts how others of the detector, rule and entity were judged. The alert's own judgement speaks for itself.
func (g *gathering) prior(ctx context.Context, m *IncidentAlert) error {
	all, err := g.judged(ctx, priorKey{tenant: m.Tenant}, "SELECT verdict, 1 FROM feedback_alerts WHERE tenant = ? LIMIT 1", m.Tenant)
	if err != nil || len(all) == 0 {
		return err
	}
	key := priorKey{m.Tenant, m.Detector, m.Rule, entityOf(m.Alert)}
	counts, err := g.judged(ctx, key, `SELECT verdict, count(*) FROM (SELECT verdict, max(feedback_id) FROM feedback_alerts
		WHERE tenant = ? AND detector = ? AND rule = ? AND entity = ? GROUP BY alert_id) GROUP BY verdict`, key.tenant, key.detector, key.rule, key.entity)
	if err != nil {
		return err
	}
	m.True, m.False, m.Benign = counts[VerdictTrue], counts[VerdictFalse], counts[VerdictBenign]
	switch m.Verdict {
	case VerdictTrue:
		m.True--
	case VerdictFalse:
		m.False--
	case VerdictBenign:
		m.Benign--
	}
	return nil
}

// judged counts verdicts, once in a transaction.
func (g *gathering) judged(ctx context.Context, key priorKey, query string, args ...any) (map[string]int, error) {
	counts, known := g.priors[key]
	if known {
		return counts, nil
	}
	counts = map[string]int{}
	_, err := collect(ctx, g.tx, func(r row) (verdict string, err error) {
		var n int
		err = r.Scan(&verdict, &n)
		counts[verdict] = n
		return verdict, err
	}, query, args...)
	if err == nil {
		g.priors[key] = counts
	}
	return counts, err
}

// IncidentFilter narrows a list of incidents; empty fields do not.
type IncidentFilter struct {
	State, Severity, Host, Technique string
	From                             time.Time // seen then or later
	Sort                             IncidentSort
}

// IncidentSort orders a list of incidents; without one the newest come first.
type IncidentSort string

// The orders, the largest or latest first.
const (
	IncidentsLatest IncidentSort = "latest" // by when something of them was last seen
	IncidentsRisk   IncidentSort = "risk"
)

// incidentCursor says where a page ended.
type incidentCursor struct {
	Value int64  `json:"v"` // of what is sorted by
	ID    string `json:"i"`
}

// ListIncidents lists the tenant's incidents without those that went into another.
func (c *Control) ListIncidents(ctx context.Context, tenant string, f IncidentFilter, p Page) ([]Incident, string, error) {
	value := map[IncidentSort]string{"": "id", IncidentsLatest: "last_seen", IncidentsRisk: "risk"}[f.Sort]
	if value == "" {
		return nil, "", &QueryError{fmt.Sprintf("incidents cannot be sorted by %q", f.Sort)}
	}
	var after incidentCursor
	if p.Cursor != "" {
		if err := parseCursor(p.Cursor, &after); err != nil {
			return nil, "", err
		}
	}
	var at any = after.Value
	if f.Sort == "" {
		at = after.ID
	}
	list, err := collect(ctx, c.reader, scanIncident, listIncidents(value), tenant, micros(f.From), f.State, f.State, f.Severity, f.Severity,
		f.Host, f.Host, f.Technique, f.Technique, f.Technique, f.Technique, after.ID, at, after.ID, p.limit()+1)
	list, next := cut(list, p, func(i Incident) string {
		values := map[IncidentSort]int64{IncidentsLatest: micros(i.LastSeen), IncidentsRisk: int64(i.Risk)}
		return cursorText(incidentCursor{values[f.Sort], i.ID})
	})
	return list, next, err
}

// listIncidents reads a page in an order. The plus keeps last_seen from choosing the index: that is to be the one of the order.
func listIncidents(by string) string {
	return "SELECT " + incidentColumns + ` FROM incidents WHERE tenant = ? AND merged_into = '' AND +last_seen >= ?
		AND (? = '' OR state = ?) AND (? = '' OR severity = ?)
		AND (? = '' OR id IN (SELECT a.incident_id FROM incident_marks k JOIN alerts a ON a.id = k.alert_id WHERE k.tenant = incidents.tenant AND k.key = ?))
		AND (? = '' OR EXISTS (SELECT 1 FROM alerts a, json_each(a.techniques) WHERE a.incident_id = incidents.id
			AND (value = ? OR substr(value, 1, length(?) + 1) = ? || '.')))
		AND (? = '' OR (` + by + `, id) < (?, ?)) ORDER BY ` + by + ` DESC, id DESC LIMIT ?`
}

// CountOpenIncidents counts the incidents that nobody has closed.
func (c *Control) CountOpenIncidents(ctx context.Context, tenant string) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT count(*) FROM incidents WHERE tenant = ? AND merged_into = '' AND state <> 'closed'", tenant).Scan(&n)
	return n, explain(err)
}

// IncidentByID returns an incident; for one that went into another, that other.
func (c *Control) IncidentByID(ctx context.Context, tenant, id string) (Incident, error) {
	i, err := scanIncident(c.reader.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE tenant = ? AND id = ?", tenant, id))
	if err == nil && i.MergedInto != "" {
		return c.IncidentByID(ctx, tenant, i.MergedInto)
	}
	return i, err
}

// IncidentOfAlert is the id of the incident that an alert belongs to, "" for none.
func (c *Control) IncidentOfAlert(ctx context.Context, tenant, alert string) (id string, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT incident_id FROM alerts WHERE tenant = ? AND id = ?", tenant, alert).Scan(&id)
	return id, explain(err)
}

// IncidentAlerts lists the riskiest alerts of an incident in the order they began.
func (c *Control) IncidentAlerts(ctx context.Context, tenant, incident string, limit int) ([]Alert, error) {
	return collect(ctx, c.reader, scanAlert, "SELECT "+alertColumns+` FROM (SELECT * FROM alerts WHERE tenant = ? AND incident_id = ? ORDER BY risk DESC, id LIMIT ?)
		ORDER BY first_seen, id`, tenant, incident, limit)
}

// SetIncidentState moves an incident on; ErrState when it is there already.
func (c *Control) SetIncidentState(ctx context.Context, tenant, id, state, by string) (Incident, error) {
	return c.changeIncident(ctx, tenant, id, func(i *Incident) error {
		if i.State == state {
			return ErrState
		}
		i.State = state
		if state == IncidentAcknowledged {
			i.Owner = by
		}
		return nil
	})
}

// AssignIncident says who looks after an incident that is not closed. One that nobody looks after is open.
func (c *Control) AssignIncident(ctx context.Context, tenant, id, owner string) (Incident, error) {
	return c.changeIncident(ctx, tenant, id, func(i *Incident) error {
		if i.State == IncidentClosed {
			return ErrState
		}
		i.Owner, i.State = owner, IncidentAcknowledged
		if owner == "" {
			i.State = IncidentOpen
		}
		return nil
	})
}

// changeIncident changes an incident that went into no other.
func (c *Control) changeIncident(ctx context.Context, tenant, id string, change func(*Incident) error) (i Incident, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		i, err = scanIncident(tx.QueryRowContext(ctx, "SELECT "+incidentColumns+" FROM incidents WHERE tenant = ? AND id = ? AND merged_into = ''", tenant, id))
		if err != nil {
			return err
		}
		if err := change(&i); err != nil {
			return err
		}
		i.Updated = c.now()
		return putIncident(ctx, tx, i)
	})
	return i, err
}

// IncidentNote is what somebody wrote down about an incident.
type IncidentNote struct {
	ID, Tenant, IncidentID, Text, By string
	Created                          time.Time
}

const maxNotes = 1000 // of one incident

// AddIncidentNote keeps a note and returns it with its id.
func (c *Control) AddIncidentNote(ctx context.Context, n IncidentNote) (IncidentNote, error) {
	id, err := newID()
	if err != nil {
		return n, err
	}
	n.ID, n.Created = id, c.now().UTC()
	err = c.write(ctx, func(tx *sql.Tx) error {
		// It may have gone into another one since the caller looked.
		err := tx.QueryRowContext(ctx, "SELECT CASE merged_into WHEN '' THEN id ELSE merged_into END FROM incidents WHERE tenant = ? AND id = ?", n.Tenant, n.IncidentID).Scan(&n.IncidentID)
		if err != nil {
			return explain(err)
		}
		var others int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM incident_notes WHERE incident_id = ?", n.IncidentID).Scan(&others); err != nil {
			return err
		}
		if others >= maxNotes {
			return &QueryError{fmt.Sprintf("the incident has %d notes, more are not kept", maxNotes)}
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO incident_notes (id, tenant, incident_id, text, by, created) VALUES (?, ?, ?, ?, ?, ?)",
			n.ID, n.Tenant, n.IncidentID, n.Text, n.By, micros(n.Created))
		return err
	})
	return n, err
}

// IncidentNotes lists the notes of an incident, newest first.
func (c *Control) IncidentNotes(ctx context.Context, tenant, incident string) ([]IncidentNote, error) {
	return collect(ctx, c.reader, func(r row) (n IncidentNote, err error) {
		err = r.Scan(&n.ID, &n.Tenant, &n.IncidentID, &n.Text, &n.By, stamp(&n.Created))
		return n, explain(err)
	}, "SELECT id, tenant, incident_id, text, by, created FROM incident_notes WHERE tenant = ? AND incident_id = ? ORDER BY id DESC", tenant, incident)
}
