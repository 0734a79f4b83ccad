package store

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"
)

const (
	flowSteps = 100 // about so many steps of time in a summary
	flowTop   = 12  // addresses and ports
	// sampleAbove is the number of flows above which addresses and ports are estimated: counting every address of ten million
	// flows takes half a second, and a page waits for it.
	sampleAbove = 300_000
)

// summing gathers a summary over segments.
type summing struct {
	apps    map[string]FlowCount
	protos  map[uint8]FlowCount
	times   map[int64]FlowCount
	talkers map[netip.Addr]FlowCount
	ports   map[[2]uint16]FlowCount // protocol, port
}

func (c *FlowCount) add(d FlowCount) {
	c.Flows, c.Packets, c.Bytes = c.Flows+d.Flows, c.Packets+d.Packets, c.Bytes+d.Bytes
}

func addTo[K comparable](m map[K]FlowCount, key K, d FlowCount) {
	c := m[key]
	c.add(d)
	m[key] = c
}

// Summary says what the flows that a filter admits add up to.
func (f *Flows) Summary(ctx context.Context, tenant string, q FlowFilter) (FlowSummary, error) {
	runs := f.runsOf(tenant, q.Captures)
	parts, incomplete, release := f.parts(ctx, runs)
	defer release()
	sum := FlowSummary{Incomplete: incomplete, Step: summaryStep(runs, q)}
	s := summing{map[string]FlowCount{}, map[uint8]FlowCount{}, map[int64]FlowCount{}, map[netip.Addr]FlowCount{}, map[[2]uint16]FlowCount{}}
	var wheres []*conditions
	for _, p := range parts {
		c, some, err := f.where(ctx, p, q)
		if err == nil && some {
			err = f.sumUp(ctx, p, c, q, &sum, &s)
		}
		if err != nil {
			return sum, fmt.Errorf("sum up flows: %w", err)
		}
		if !some {
			c = nil
		}
		wheres = append(wheres, c)
	}
	every := uint64(1)
	if sum.Flows > sampleAbove {
		every = 1 << bits.Len64(sum.Flows/sampleAbove)
	}
	for i, p := range parts {
		if wheres[i] == nil || sum.Flows == 0 {
			continue
		}
		sampled, err := f.sumEnds(ctx, p, wheres[i], every, &s)
		if err != nil {
			return sum, fmt.Errorf("sum up flows: %w", err)
		}
		if every > 1 {
			sum.Sampled += sampled
		}
	}
	s.into(&sum)
	return sum, nil
}

// summaryStep is a nice step for the time that the flows of the runs, or the filter, span.
func summaryStep(runs []*run, q FlowFilter) time.Duration {
	first, last := int64(1<<63-1), int64(-1<<63)
	for _, r := range runs {
		if r.flows > 0 {
			first, last = min(first, r.first), max(last, r.last)
		}
	}
	if !q.From.IsZero() {
		first = max(first, q.From.UnixMicro())
	}
	if !q.To.IsZero() {
		last = min(last, q.To.UnixMicro())
	}
	want := time.Duration(max(last/flowSteps-first/flowSteps, 1)) * time.Microsecond
	for _, step := range niceSteps {
		if step >= want {
			return step
		}
	}
	return (want + 24*time.Hour - 1) / (24 * time.Hour) * 24 * time.Hour
}

// sumUp makes one pass over the flows of a segment, or over the sums that are kept of them.
func (f *Flows) sumUp(ctx context.Context, p part, c *conditions, q FlowFilter, sum *FlowSummary, s *summing) error {
	query := "SELECT app, proto, %s AS step, count(*), %s, %s, %s, epoch_us(min(start)), epoch_us(max(start)) FROM %s.main.flows WHERE %s GROUP BY ALL"
	at := "start"
	if summable(q) {
		query = "SELECT app, proto, %s AS step, sum(flows)::UBIGINT, %s, %s, %s, epoch_us(min(first)), epoch_us(max(last)) FROM %s.main.sums WHERE %s GROUP BY ALL"
		at = "since"
	}
	rows, err := f.engine.db.QueryContext(ctx, fmt.Sprintf(query, stepOf(at, sum.Step.Microseconds()), total("packets"), total("bytes"), total("fwd_bytes"), p.seg.alias, c), c.args...)
	if err != nil {
		return explainDuck(p.seg.path, err)
	}
	defer rows.Close()
	words := f.vocabulary()
	for rows.Next() {
		var app uint16
		var proto uint8
		var step, first, last int64
		var n FlowCount
		var fwd uint64
		if err := rows.Scan(&app, &proto, &step, &n.Flows, &n.Packets, &n.Bytes, &fwd, &first, &last); err != nil {
			return err
		}
		if at := time.UnixMicro(first).UTC(); sum.Flows == 0 || at.Before(sum.First) {
			sum.First = at
		}
		if at := time.UnixMicro(last).UTC(); sum.Flows == 0 || at.After(sum.Last) {
			sum.Last = at
		}
		sum.add(n)
		sum.FwdBytes += fwd
		addTo(s.apps, words[app], n)
		addTo(s.protos, proto, n)
		addTo(s.times, step, n)
	}
	return explainDuck(p.seg.path, rows.Err())
}

// total adds a column up, and never to more than fits.
func total(column string) string {
	return fmt.Sprintf("least(sum(%s), 9223372036854775807)::UBIGINT", column)
}

// sumEnds counts addresses and ports, of every frame or of one in some: then each stands for that many.
func (f *Flows) sumEnds(ctx context.Context, p part, c *conditions, every uint64, s *summing) (sampled uint64, err error) {
	where := c.String()
	if every > 1 {
		where += fmt.Sprintf(" AND block %% %d::UINTEGER = 0::UINTEGER", every)
	}
	from := fmt.Sprintf("FROM %s.main.flows WHERE %s", p.seg.alias, where)
	columns := "count(*), " + total("packets") + ", " + total("bytes") + " AS size"
	limit := fmt.Sprintf(" GROUP BY ALL ORDER BY size DESC LIMIT %d", 4*flowTop)
	// A flow of a host with itself counts once.
	sides := fmt.Sprintf("SELECT src_hi AS hi, src AS lo, packets, bytes %[1]s UNION ALL SELECT dst_hi, dst, packets, bytes %[1]s AND NOT (src_hi = dst_hi AND src = dst)", from)
	err = f.eachCount(ctx, p, "SELECT hi, lo, "+columns+" FROM ("+sides+")"+limit, append(slices.Clone(c.args), c.args...), every, func(a, b uint64, n FlowCount) {
		addTo(s.talkers, whole(a, b), n)
	})
	if err != nil {
		return 0, err
	}
	err = f.eachCount(ctx, p, "SELECT proto::UBIGINT AS p, dst_port::UBIGINT AS d, "+columns+" "+from+" AND proto IN (6::UTINYINT, 17::UTINYINT)"+limit, c.args, every, func(a, b uint64, n FlowCount) {
		addTo(s.ports, [2]uint16{uint16(a), uint16(b)}, n) //nolint:gosec // of such columns
	})
	if err != nil || every == 1 {
		return 0, err
	}
	counted, err := f.numbers(ctx, "SELECT count(*)::UBIGINT "+from, c.args...)
	if err != nil {
		return 0, explainDuck(p.seg.path, err)
	}
	return counted[0], nil
}

func (f *Flows) eachCount(ctx context.Context, p part, query string, args []any, every uint64, see func(a, b uint64, n FlowCount)) error {
	rows, err := f.engine.db.QueryContext(ctx, query, args...)
	if err != nil {
		return explainDuck(p.seg.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var a, b uint64
		var n FlowCount
		if err := rows.Scan(&a, &b, &n.Flows, &n.Packets, &n.Bytes); err != nil {
			return err
		}
		see(a, b, FlowCount{n.Flows * every, n.Packets * every, n.Bytes * every})
	}
	return explainDuck(p.seg.path, rows.Err())
}

// into puts what was gathered into order.
func (s *summing) into(sum *FlowSummary) {
	sum.Apps = ranked(s.apps, 0, func(app string, n FlowCount) FlowGroup { return FlowGroup{FlowCount: n, App: app} })
	sum.Protos = ranked(s.protos, 0, func(proto uint8, n FlowCount) FlowGroup { return FlowGroup{FlowCount: n, Proto: proto} })
	sum.Talkers = ranked(s.talkers, flowTop, func(a netip.Addr, n FlowCount) FlowGroup { return FlowGroup{FlowCount: n, Host: a} })
	sum.Ports = ranked(s.ports, flowTop, func(k [2]uint16, n FlowCount) FlowGroup {
		return FlowGroup{FlowCount: n, Proto: uint8(k[0]), Port: k[1]} //nolint:gosec // as it was put in
	})
	sum.Times = []FlowTime{}
	for step, n := range s.times {
		sum.Times = append(sum.Times, FlowTime{FlowCount: n, Start: time.UnixMicro(step * sum.Step.Microseconds()).UTC()})
	}
	slices.SortFunc(sum.Times, func(a, b FlowTime) int { return a.Start.Compare(b.Start) })
}

// ranked is the groups by bytes, the largest first; most of 0 means all.
func ranked[K comparable](m map[K]FlowCount, most int, group func(K, FlowCount) FlowGroup) []FlowGroup {
	list := []FlowGroup{}
	for key, n := range m {
		list = append(list, group(key, n))
	}
	slices.SortFunc(list, func(a, b FlowGroup) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Flows, a.Flows), cmp.Compare(a.App, b.App), cmp.Compare(a.Proto, b.Proto),
			cmp.Compare(a.Port, b.Port), a.Host.Compare(b.Host))
	})
	if most > 0 && len(list) > most {
		list = list[:most]
	}
	return list
}
