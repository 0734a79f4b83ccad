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
	return idList("name", "UBIGINT", ids, func(id uint64) uint64 { return id }), nil, nil
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

// listed is a row with what it is sorted by.
type listed struct {
	FlowRow
	at   flowCursor
	name uint64
}

var sortColumns = map[FlowSort]string{FlowsByStart: "start", FlowsByDuration: "duration", FlowsByBytes: "bytes", FlowsByPackets: "packets"}

// List returns a page of flows.
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
	list, incomplete, release := f.parts(ctx, f.runsOf(q.Tenant, q.Filter.Captures))
	defer release()
	var rows []listed
	for _, p := range list {
		more, err := f.listIn(ctx, p, q, after)
		if err != nil {
			return FlowPage{}, fmt.Errorf("list flows: %w", err)
		}
		rows = append(rows, more...)
	}
	slices.SortFunc(rows, func(a, b listed) int {
		if q.Ascending {
			return a.at.compare(b.at)
		}
		return b.at.compare(a.at)
	})
	page := FlowPage{Flows: []FlowRow{}, Incomplete: incomplete}
	if limit := q.Page.limit(); len(rows) > limit {
		rows = rows[:limit]
		page.Next = cursorText(rows[limit-1].at)
	}
	if err := f.nameRows(ctx, list, rows); err != nil {
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

func (f *Flows) listIn(ctx context.Context, p part, q FlowQuery, after *flowCursor) ([]listed, error) {
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
	query := fmt.Sprintf(`SELECT run, id, start, duration, src_hi, src, dst_hi, dst, src_port, dst_port, proto, reason, app, tunnel, tunnel_id, vlan,
		packets, fwd_packets, bytes, fwd_bytes, name FROM %s.main.flows WHERE %s ORDER BY %s %s, run %s, id %s LIMIT %d`,
		p.seg.alias, c, column, order, order, order, q.Page.limit()+1)
	captures := map[uint32]string{}
	for _, r := range p.runs {
		captures[r.id] = r.capture
	}
	words := f.vocabulary()
	list, err := collect(ctx, f.engine.db, func(r row) (listed, error) { return scanFlow(r, captures, words, q.Sort) }, query, c.args...)
	return list, explainDuck(p.seg.path, err)
}

func scanFlow(r row, captures map[uint32]string, words []string, sort FlowSort) (x listed, err error) {
	var run uint32
	var duration, srcHi, src, dstHi, dst uint64
	var app, tunnel uint16
	var reason uint8
	err = r.Scan(&run, &x.ID, &x.Start, &duration, &srcHi, &src, &dstHi, &dst, &x.SrcPort, &x.DstPort, &x.Proto, &reason, &app, &tunnel,
		&x.TunnelID, &x.VLAN, &x.Packets, &x.FwdPackets, &x.Bytes, &x.FwdBytes, &x.name)
	x.Capture, x.Duration, x.EndReason = captures[run], time.Duration(duration)*time.Microsecond, sdk.EndReason(reason)
	x.Src, x.Dst, x.App, x.Tunnel = whole(srcHi, src), whole(dstHi, dst), words[app], words[tunnel]
	x.at = flowCursor{Run: run, ID: x.ID}
	switch sort {
	case FlowsByDuration:
		x.at.Value = int64(duration) //nolint:gosec // a time.Duration in µs
	case FlowsByBytes:
		x.at.Value = int64(x.Bytes) //nolint:gosec // of a BIGINT
	case FlowsByPackets:
		x.at.Value = int64(x.Packets) //nolint:gosec // of a BIGINT
	default:
		x.at.Value = x.Start.UnixMicro()
	}
	return x, err
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
