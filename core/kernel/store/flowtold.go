package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

const shownFacts = 100 // with a flow

// factCursor says where a page ended.
type factCursor struct {
	Seen   int64  `json:"t"`
	Run    uint32 `json:"r"`
	Number uint64 `json:"n"`
}

func (c factCursor) compare(d factCursor) int {
	return cmp.Or(cmp.Compare(c.Seen, d.Seen), cmp.Compare(c.Run, d.Run), cmp.Compare(c.Number, d.Number))
}

// Facts returns a page of facts, oldest first.
func (f *Flows) Facts(ctx context.Context, q FactQuery) (FactPage, error) {
	defer f.memory.page(ctx)()
	return f.factPage(ctx, q)
}

// LookUpFacts is Facts for the server itself, which does with what memory a recording leaves: nobody waits for it.
func (f *Flows) LookUpFacts(ctx context.Context, q FactQuery) (FactPage, error) {
	defer f.memory.work()()
	return f.factPage(ctx, q)
}

func (f *Flows) factPage(ctx context.Context, q FactQuery) (FactPage, error) {
	schema := records.SchemaOfFacts(q.Kind)
	if schema == 0 {
		return FactPage{}, &QueryError{fmt.Sprintf("there are no facts of the kind %q", q.Kind)}
	}
	if q.Flow != 0 && len(q.Captures) != 1 {
		return FactPage{}, &QueryError{"the facts of a flow are asked for with its capture"}
	}
	var after *factCursor
	if q.Page.Cursor != "" {
		after = &factCursor{}
		if err := parseCursor(q.Page.Cursor, after); err != nil {
			return FactPage{}, err
		}
	}
	parts, incomplete, release := f.parts(ctx, f.runsOf(q.Tenant, q.Captures))
	defer release()
	limit := q.Page.limit()
	all := factWindow{want: limit + 1}
	for _, p := range parts {
		c, err := f.factConditions(ctx, p, q, schema, after)
		if err != nil {
			return FactPage{}, err
		}
		found, err := f.firstFacts(ctx, p, c, limit+1, q.admits(after))
		if err != nil {
			return FactPage{}, err
		}
		all.join(found)
	}
	page := FactPage{Facts: []FlowFact{}, Incomplete: incomplete}
	if facts := all.facts; len(facts) > limit || all.end != nil {
		all.facts = facts[:min(len(facts), limit)]
		page.Next = cursorText(all.facts[len(all.facts)-1].factCursor)
	}
	for _, x := range all.facts {
		page.Facts = append(page.Facts, x.FlowFact)
	}
	return page, nil
}

// admits judges single facts by their time, which a row of the index has of its group.
func (q FactQuery) admits(after *factCursor) func(factCursor) bool {
	return func(at factCursor) bool {
		return (q.From.IsZero() || at.Seen >= ceilMicros(q.From)) && (q.To.IsZero() || at.Seen < ceilMicros(q.To)) &&
			(after == nil || at.compare(*after) > 0)
	}
}

func (f *Flows) factConditions(ctx context.Context, p part, q FactQuery, kind records.Schema, after *factCursor) (*conditions, error) {
	c := &conditions{}
	c.runs(p.runs)
	c.add("kind = %d::UTINYINT", kind)
	if q.Flow != 0 {
		c.add("flow = %d::UBIGINT", q.Flow)
	}
	c.span("until", q.From, time.Time{})
	c.span("since", time.Time{}, q.To)
	c.hosts("client", "server", q.Host, netip.Prefix{}, netip.Prefix{})
	if after != nil {
		// The facts of a group are of one frame, and so is what they are numbered by.
		c.add("until >= %[1]s AND (until > %[1]s OR run > %[2]d::UINTEGER OR (run = %[2]d::UINTEGER AND number >= %[3]d::UBIGINT))",
			timestamp(min(max(after.Seen, minMicros), maxMicros)), after.Run, after.Number&^(maxItems-1))
	}
	if q.Text == "" {
		return c, nil
	}
	named, args, err := f.named(ctx, p, q.Text)
	c.args = args
	c.add("%s", named)
	return c, err
}

// factsOf are the first facts of a flow.
func (f *Flows) factsOf(ctx context.Context, p part, r *run, flow uint64) ([]FlowFact, error) {
	out := []FlowFact{}
	if flow == 0 {
		return out, nil
	}
	c := &conditions{}
	c.add("run = %d::UINTEGER AND flow = %d::UBIGINT", r.id, flow)
	found, err := f.firstFacts(ctx, p, c, shownFacts, func(factCursor) bool { return true })
	for _, x := range found.facts[:min(len(found.facts), shownFacts)] {
		out = append(out, x.FlowFact)
	}
	return out, err
}

// readFact is a fact with what it is ordered by.
type readFact struct {
	FlowFact
	factCursor
	weight int // bytes, about
}

func (x readFact) compare(y readFact) int { return x.factCursor.compare(y.factCursor) }

// foundGroup is where a group of facts lies.
type foundGroup struct {
	factCursor // no fact of the group comes before
	kind       uint8
	name       uint64
}

// firstFacts returns the first facts of one segment, oldest first: as many as are wanted and fit, or all there are. Rows of the
// index are in the order of the earliest fact of each group, so what comes before the last row that was read is known
// completely.
func (f *Flows) firstFacts(ctx context.Context, p part, c *conditions, want int, admit func(factCursor) bool) (factWindow, error) {
	for rows := want; ; rows *= 4 {
		groups, err := f.findGroups(ctx, p, c, rows)
		if err != nil {
			return factWindow{}, err
		}
		found := factWindow{want: want}
		if err := f.readFacts(ctx, p, groups, admit, &found); err != nil {
			return factWindow{}, err
		}
		found.trim()
		if len(groups) < rows {
			return found, nil
		}
		last := groups[len(groups)-1].factCursor
		known := found.before(last)
		if known >= want || (found.end != nil && known > 0 && found.end.compare(last) < 0) {
			found.facts = found.facts[:known]
			return found, nil
		}
	}
}

func (f *Flows) findGroups(ctx context.Context, p part, c *conditions, limit int) ([]foundGroup, error) {
	list, err := collect(ctx, f.engine.db, func(r row) (x foundGroup, err error) {
		return x, r.Scan(&x.Run, &x.Number, &x.kind, &x.Seen, &x.name)
	}, fmt.Sprintf("SELECT run, number, kind, epoch_us(since), name FROM %s.main.facts WHERE %s ORDER BY since, run, number LIMIT %d",
		p.seg.alias, c, limit), c.args...)
	return list, explainDuck(p.seg.path, err)
}

// readFacts shows a window the facts of groups that admit admits.
func (f *Flows) readFacts(ctx context.Context, p part, list []foundGroup, admit func(factCursor) bool, into *factWindow) error {
	type file struct {
		run  uint32
		kind uint8
	}
	wanted := map[file]map[uint32][]foundGroup{} // by frame
	var names []uint64
	for _, x := range list {
		at := file{x.Run, x.kind}
		if wanted[at] == nil {
			wanted[at] = map[uint32][]foundGroup{}
		}
		block, _ := factPlace(x.Number)
		wanted[at][block] = append(wanted[at][block], x)
		if x.name != 0 {
			names = append(names, x.name)
		}
	}
	texts := map[uint64]string{}
	if err := f.texts(ctx, p.seg, names, texts); err != nil {
		return err
	}
	for at, blocks := range wanted {
		i := slices.IndexFunc(p.runs, func(r *run) bool { return r.id == at.run })
		if i < 0 {
			continue
		}
		err := f.rows(ctx, p, p.runs[i], at.kind, slices.Collect(maps.Keys(blocks)), func(block uint32, b *sdk.Batch) error {
			into.add(factsOfGroups(b, blocks[block], admit), func(x namedFact) readFact {
				x.Kind, x.Capture, x.Name = records.Schema(at.kind).Facts(), p.runs[i].capture, texts[x.name]
				return x.readFact
			})
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}

type namedFact struct {
	readFact
	name uint64
}

// factsOfGroups are the facts of a frame that belong to groups of it: those that have what the first of one has.
func factsOfGroups(b *sdk.Batch, groups []foundGroup, admit func(factCursor) bool) (out []namedFact) {
	first := map[uint16]foundGroup{}
	for _, x := range groups {
		_, at := factPlace(x.Number)
		first[at] = x
	}
	member := map[factKey]foundGroup{}
	item := uint16(0)
	_ = toldBy(b, func(t told) error {
		key := t.key()
		if x, ok := first[item]; ok {
			member[key] = x
		}
		if x, ok := member[key]; ok {
			at := factCursor{micros(t.seen.Time), x.Run, x.Number&^(maxItems-1) | uint64(item)}
			if admit(at) {
				out = append(out, namedFact{readFact{FlowFact: FlowFact{Number: at.Number, Seen: *t.seen, Value: t.value}, factCursor: at}, x.name})
			}
		}
		item++
		return nil
	})
	return out
}
