package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// literalNames is up to how many names that match a text are written into a query one by one.
const literalNames = 200

// togetherRuns is how many runs are asked with one query for the rows of a page: the time to plan one grows with their square.
const togetherRuns = 50

// part is a segment with the runs of it that a query may see.
type part struct {
	seg  *segment
	runs []*run
}

// parts holds the segments of the runs. release must be called. What could not be opened is missing.
func (f *Flows) parts(ctx context.Context, runs []*run) (list []part, incomplete bool, release func()) {
	byDay := map[int64][]*run{}
	for _, r := range runs {
		byDay[r.day] = append(byDay[r.day], r)
	}
	var held []*segment
	for day, those := range byDay {
		segs, missing := f.segments.forRead(ctx, day, day)
		for _, err := range missing {
			f.cfg.Log.Error("read flows", "error", err)
			incomplete = true
		}
		for _, seg := range segs {
			held = append(held, seg)
			list = append(list, part{seg: seg, runs: those})
		}
	}
	slices.SortFunc(list, func(a, b part) int { return int(b.seg.day - a.seg.day) })
	return list, incomplete, func() { f.segments.release(held...) }
}

// where writes the conditions of a filter for one place, false when nothing there can be admitted.
func (f *Flows) where(ctx context.Context, p part, q FlowFilter) (*conditions, bool, error) {
	c := &conditions{}
	c.runs(p.runs)
	if !c.narrow(q, f.vocabulary()) {
		return c, false, nil
	}
	if q.Text == "" {
		return c, true, nil
	}
	return c, true, f.called(ctx, p, c, q.Text)
}

// called narrows to flows that a text is found in a name of.
func (f *Flows) called(ctx context.Context, p part, c *conditions, text string) error {
	named, args, err := f.named(ctx, p, text)
	if err != nil {
		return err
	}
	others := "FROM " + p.seg.alias + ".main.facts WHERE also = 1::UTINYINT AND " + named
	also, err := f.numbers(ctx, "SELECT flow "+others+" LIMIT 1", args...)
	if err != nil {
		return explainDuck(p.seg.path, err)
	}
	if len(also) == 0 {
		c.args = args
		c.add("%s", named)
		return nil
	}
	c.args = append(slices.Clone(args), args...)
	c.add("(%s OR (run, id) IN (SELECT run, flow %s))", named, others)
	return nil
}

// named is a condition that a text is found in a name. Names are few beside flows, so they are looked through first.
func (f *Flows) named(ctx context.Context, p part, text string) (condition string, args []any, err error) {
	names := "SELECT name FROM " + p.seg.alias + ".main.names WHERE contains(lower(text), lower(?))"
	ids, err := f.numbers(ctx, names+fmt.Sprintf(" ORDER BY name LIMIT %d", literalNames+1), text)
	switch {
	case err != nil:
		return "", nil, explainDuck(p.seg.path, err)
	case len(ids) > literalNames:
		return "name IN (" + names + ")", []any{text}, nil
	}
	if len(ids) == 0 {
		return "false", nil, nil
	}
	return oneOf("name", "UBIGINT", ids), nil, nil
}

func (f *Flows) numbers(ctx context.Context, query string, args ...any) ([]uint64, error) {
	return collect(ctx, f.engine.db, func(r row) (n uint64, err error) { return n, r.Scan(&n) }, query, args...)
}

// flowCursor says where a page ended.
type flowCursor struct {
	Value int64  `json:"v"` // of what is sorted by
	Run   uint32 `json:"r"`
	ID    uint64 `json:"i"`
}

func cursorText(c any) string { return base64.RawURLEncoding.EncodeToString([]byte(toJSON(c))) }

func parseCursor(text string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return &QueryError{"the cursor is none of ours; begin with the first page"}
	}
	return nil
}

// listed is a row with what it is found by.
type listed struct {
	FlowRow
	at   flowCursor
	name uint64
}

var sortColumns = map[FlowSort]string{FlowsByStart: "start", FlowsByDuration: "duration", FlowsByBytes: "bytes", FlowsByPackets: "packets"}

// List returns a page of flows: first it finds which they are, then it reads those.
func (f *Flows) List(ctx context.Context, q FlowQuery) (FlowPage, error) {
	if q.Sort == "" {
		q.Sort = FlowsByStart
	}
	if sortColumns[q.Sort] == "" {
		return FlowPage{}, &QueryError{fmt.Sprintf("flows cannot be sorted by %q", q.Sort)}
	}
	var after *flowCursor
	if q.Page.Cursor != "" {
		after = &flowCursor{}
		if err := parseCursor(q.Page.Cursor, after); err != nil {
			return FlowPage{}, err
		}
	}
	defer f.memory.page(ctx)()
	list, incomplete, release := f.parts(ctx, f.runsOf(q.Tenant, q.Filter.Captures))
	defer release()
	var places []flowCursor
	for _, p := range list {
		more, err := f.placesIn(ctx, p, q, after)
		if err != nil {
			return FlowPage{}, fmt.Errorf("list flows: %w", err)
		}
		places = append(places, more...)
	}
	slices.SortFunc(places, func(a, b flowCursor) int {
		if q.Ascending {
			return a.compare(b)
		}
		return b.compare(a)
	})
	page := FlowPage{Flows: []FlowRow{}, Incomplete: incomplete}
	if limit := q.Page.limit(); len(places) > limit {
		places = places[:limit]
		page.Next = cursorText(places[limit-1])
	}
	rows, err := f.listed(ctx, list, places)
	if err == nil {
		err = f.nameRows(ctx, list, rows)
	}
	if err != nil {
		return FlowPage{}, fmt.Errorf("list flows: %w", err)
	}
	for _, r := range rows {
		page.Flows = append(page.Flows, r.FlowRow)
	}
	return page, nil
}

func (c flowCursor) compare(d flowCursor) int {
	return cmp.Or(cmp.Compare(c.Value, d.Value), cmp.Compare(c.Run, d.Run), cmp.Compare(c.ID, d.ID))
}

// placesIn finds which flows of a segment may be on a page.
func (f *Flows) placesIn(ctx context.Context, p part, q FlowQuery, after *flowCursor) ([]flowCursor, error) {
	c, some, err := f.where(ctx, p, q.Filter)
	if err != nil || !some {
		return nil, err
	}
	column := sortColumns[q.Sort]
	order, less := "DESC", "<"
	if q.Ascending {
		order, less = "ASC", ">"
	}
	if after != nil {
		value := fmt.Sprintf("%d::UBIGINT", max(after.Value, 0))
		switch q.Sort {
		case FlowsByBytes, FlowsByPackets:
			value = fmt.Sprintf("%d::BIGINT", max(after.Value, 0))
		case FlowsByStart:
			value = timestamp(min(max(after.Value, minMicros), maxMicros))
		}
		c.add("%[1]s %[2]s= %[3]s AND (%[1]s %[2]s %[3]s OR run %[2]s %[4]d::UINTEGER OR (run = %[4]d::UINTEGER AND id %[2]s %[5]d::UBIGINT))",
			column, less, value, after.Run, after.ID)
	}
	value := column
	if q.Sort == FlowsByStart {
		value = "epoch_us(start)"
	}
	list, err := collect(ctx, f.engine.db, func(r row) (at flowCursor, err error) { return at, r.Scan(&at.Value, &at.Run, &at.ID) },
		fmt.Sprintf("SELECT %s, run, id FROM %s.main.flows WHERE %s ORDER BY %s %s, run %s, id %s LIMIT %d",
			value, p.seg.alias, c, column, order, order, order, q.Page.limit()+1), c.args...)
	return list, explainDuck(p.seg.path, err)
}

// listed reads the rows at these places and returns them in their order. What was removed meanwhile is missing.
func (f *Flows) listed(ctx context.Context, list []part, places []flowCursor) ([]listed, error) {
	rows := make([]listed, len(places))
	at := make(map[flowKey]int, len(places))
	ids := map[uint32][]uint64{}
	for i, place := range places {
		rows[i].at = place
		at[flowKey{place.Run, place.ID}] = i
		ids[place.Run] = append(ids[place.Run], place.ID)
	}
	found := make([]bool, len(places))
	for _, p := range list {
		err := f.readRows(ctx, p, ids, func(key flowKey, x listed) {
			if i, ok := at[key]; ok {
				x.at = places[i]
				rows[i], found[i] = x, true
			}
		})
		if err != nil {
			return nil, err
		}
	}
	out := rows[:0]
	for i, x := range rows {
		if found[i] {
			out = append(out, x)
		}
	}
	return out, nil
}

// flowKey is what a row of a flow is found by in all of the store.
type flowKey struct {
	run uint32
	id  uint64
}

// readRows shows the rows of some flows of a segment's runs. Each run is asked by itself: its blocks that hold none are skipped then.
func (f *Flows) readRows(ctx context.Context, p part, ids map[uint32][]uint64, see func(flowKey, listed)) error {
	var selects []string
	captures := map[uint32]string{}
	for _, r := range p.runs {
		if len(ids[r.id]) == 0 {
			continue
		}
		captures[r.id] = r.capture
		selects = append(selects, fmt.Sprintf(`(SELECT run, id, start, duration, src_hi, src, dst_hi, dst, src_port, dst_port, proto, reason, app, tunnel, tunnel_id, vlan,
			packets, fwd_packets, bytes, fwd_bytes, name FROM %s.main.flows WHERE run = %d::UINTEGER AND %s LIMIT %d)`,
			p.seg.alias, r.id, oneOf("id", "UBIGINT", ids[r.id]), len(ids[r.id])))
	}
	for some := range slices.Chunk(selects, togetherRuns) {
		if err := f.readSome(ctx, strings.Join(some, " UNION ALL "), captures, see); err != nil {
			return explainDuck(p.seg.path, err)
		}
	}
	return nil
}

func (f *Flows) readSome(ctx context.Context, query string, captures map[uint32]string, see func(flowKey, listed)) error {
	rows, err := f.engine.db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	words := f.vocabulary()
	for rows.Next() {
		key, x, err := scanFlow(rows, words)
		if err != nil {
			return err
		}
		x.Capture = captures[key.run]
		see(key, x)
	}
	return rows.Err()
}

func scanFlow(r row, words []string) (key flowKey, x listed, err error) {
	var duration, srcHi, src, dstHi, dst uint64
	var app, tunnel uint16
	var reason uint8
	err = r.Scan(&key.run, &key.id, &x.Start, &duration, &srcHi, &src, &dstHi, &dst, &x.SrcPort, &x.DstPort, &x.Proto, &reason, &app, &tunnel,
		&x.TunnelID, &x.VLAN, &x.Packets, &x.FwdPackets, &x.Bytes, &x.FwdBytes, &x.name)
	x.ID, x.Duration, x.EndReason = key.id, time.Duration(duration)*time.Microsecond, sdk.EndReason(reason) //nolint:gosec // of a time.Duration in µs
	x.Src, x.Dst, x.App, x.Tunnel = whole(srcHi, src), whole(dstHi, dst), words[app], words[tunnel]
	return key, x, err
}

// nameRows fills in the names of a page.
func (f *Flows) nameRows(ctx context.Context, list []part, rows []listed) error {
	days := map[int64][]uint64{}
	day := map[uint32]int64{}
	for _, p := range list {
		for _, r := range p.runs {
			day[r.id] = p.seg.day
		}
	}
	for _, r := range rows {
		if r.name != 0 {
			days[day[r.at.Run]] = append(days[day[r.at.Run]], r.name)
		}
	}
	texts := map[uint64]string{}
	for _, p := range list {
		if err := f.texts(ctx, p.seg, days[p.seg.day], texts); err != nil {
			return err
		}
	}
	for i := range rows {
		rows[i].Name = texts[rows[i].name]
	}
	return nil
}

// texts looks up names by their numbers.
func (f *Flows) texts(ctx context.Context, seg *segment, ids []uint64, into map[uint64]string) error {
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	rows, err := f.engine.db.QueryContext(ctx, "SELECT name, text FROM "+seg.alias+".main.names WHERE "+
		idList("name", "UBIGINT", ids, func(id uint64) uint64 { return id }))
	if err != nil {
		return explainDuck(seg.path, err)
	}
	return scanNames(rows, into)
}

func scanNames(rows *sql.Rows, into map[uint64]string) error {
	defer rows.Close()
	for rows.Next() {
		var id uint64
		var text string
		if err := rows.Scan(&id, &text); err != nil {
			return err
		}
		into[id] = strings.Clone(text)
	}
	return rows.Err()
}
