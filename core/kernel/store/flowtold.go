package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

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
	type candidate struct {
		foundFact
		part part
	}
	var all []candidate
	for _, p := range parts {
		c, err := f.factConditions(ctx, p, q, schema, after)
		if err != nil {
			return FactPage{}, err
		}
		found, err := f.findFacts(ctx, p, c.String(), c.args, q.Page.limit()+1)
		if err != nil {
			return FactPage{}, err
		}
		for _, x := range found {
			all = append(all, candidate{x, p})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.cursor().compare(b.cursor()) })
	page := FactPage{Facts: []FlowFact{}, Incomplete: incomplete}
	if limit := q.Page.limit(); len(all) > limit {
		all = all[:limit]
		page.Next = cursorText(all[limit-1].cursor())
	}
	for len(all) > 0 { // those of one segment that stand together are read together
		n := 1
		for n < len(all) && all[n].part.seg == all[0].part.seg {
			n++
		}
		var list []foundFact
		for _, x := range all[:n] {
			list = append(list, x.foundFact)
		}
		facts, err := f.readFacts(ctx, all[0].part, list)
		if err != nil {
			return FactPage{}, err
		}
		page.Facts, all = append(page.Facts, facts...), all[n:]
	}
	return page, nil
}

func (f *Flows) factConditions(ctx context.Context, p part, q FactQuery, kind records.Schema, after *factCursor) (*conditions, error) {
	c := &conditions{}
	c.runs(p.runs)
	c.add("kind = %d::UTINYINT", kind)
	if q.Flow != 0 {
		c.add("flow = %d::UBIGINT", q.Flow)
	}
	c.span("seen", q.From, q.To)
	c.hosts("client", "server", q.Host, netip.Prefix{}, netip.Prefix{})
	if after != nil {
		c.add("seen >= %[1]s AND (seen > %[1]s OR run > %[2]d::UINTEGER OR (run = %[2]d::UINTEGER AND number > %[3]d::UBIGINT))",
			timestamp(min(max(after.Seen, minMicros), maxMicros)), after.Run, after.Number)
	}
	if q.Text == "" {
		return c, nil
	}
	named, args, err := f.named(ctx, p, q.Text)
	c.args = args
	c.add("%s", named)
	return c, err
}

func (x foundFact) cursor() factCursor { return factCursor{Seen: x.seen, Run: x.run, Number: x.number} }

// factsOf are the first facts of a flow.
func (f *Flows) factsOf(ctx context.Context, p part, r *run, flow uint64) ([]FlowFact, error) {
	if flow == 0 {
		return []FlowFact{}, nil
	}
	found, err := f.findFacts(ctx, p, fmt.Sprintf("run = %d::UINTEGER AND flow = %d::UBIGINT", r.id, flow), nil, shownFacts)
	if err != nil {
		return nil, err
	}
	return f.readFacts(ctx, p, found)
}

// foundFact is where a fact lies.
type foundFact struct {
	run    uint32
	number uint64
	kind   uint8
	seen   int64
	name   uint64
	block  uint32
	item   uint16
}

// findFacts returns facts of one segment, oldest first.
func (f *Flows) findFacts(ctx context.Context, p part, where string, args []any, limit int) ([]foundFact, error) {
	list, err := collect(ctx, f.engine.db, func(r row) (x foundFact, err error) {
		return x, r.Scan(&x.run, &x.number, &x.kind, &x.seen, &x.name, &x.block, &x.item)
	}, fmt.Sprintf("SELECT run, number, kind, epoch_us(seen), name, block, item FROM %s.main.facts WHERE %s ORDER BY seen, run, number LIMIT %d",
		p.seg.alias, where, limit), args...)
	return list, explainDuck(p.seg.path, err)
}

// readFacts reads the facts themselves, in the given order.
func (f *Flows) readFacts(ctx context.Context, p part, list []foundFact) ([]FlowFact, error) {
	type frame struct {
		run   uint32
		kind  uint8
		block uint32
	}
	wanted := map[frame][]int{} // positions in list
	var names []uint64
	for i, x := range list {
		at := frame{x.run, x.kind, x.block}
		wanted[at] = append(wanted[at], i)
		if x.name != 0 {
			names = append(names, x.name)
		}
	}
	texts := map[uint64]string{}
	if err := f.texts(ctx, p.seg, names, texts); err != nil {
		return nil, err
	}
	out := make([]FlowFact, len(list))
	for at, positions := range wanted {
		i := slices.IndexFunc(p.runs, func(r *run) bool { return r.id == at.run })
		if i < 0 {
			continue
		}
		r := p.runs[i]
		err := f.rows(ctx, p, r, at.kind, []uint32{at.block}, func(_ uint32, b *sdk.Batch) error {
			n := uint16(0)
			return toldBy(b, func(t told) error {
				for _, i := range positions {
					if list[i].item == n {
						out[i] = FlowFact{Kind: records.Schema(at.kind).Facts(), Capture: r.capture, Number: list[i].number, Seen: *t.seen,
							Name: texts[list[i].name], Value: t.value}
					}
				}
				n++
				return nil
			})
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
	}
	return slices.DeleteFunc(out, func(x FlowFact) bool { return x.Kind == "" }), nil
}
