package store

import (
	"cmp"
	"context"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	flowSteps = 100 // about so many steps of time in a summary
	flowTop   = 12  // addresses and ports
	closer    = 10  // a step that is so many times as long as it might be is worth another look
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
	defer f.memory.page(ctx)()
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
	if err := f.lookCloser(ctx, parts, wheres, &sum, &s); err != nil {
		return sum, fmt.Errorf("sum up flows: %w", err)
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
	return stepFor(first, last)
}

// stepFor is a nice step for a span of time, given in microseconds.
func stepFor(first, last int64) time.Duration {
	want := time.Duration(max(last/flowSteps-first/flowSteps, 1)) * time.Microsecond
	for _, step := range niceSteps {
		if step >= want {
			return step
		}
	}
	return (want + 24*time.Hour - 1) / (24 * time.Hour) * 24 * time.Hour
}

// lookCloser counts by shorter steps where a filter admits a small part only of the time that its runs span: else a host that
// spoke for a minute would be one bar, as wide as the years between two captures.
func (f *Flows) lookCloser(ctx context.Context, parts []part, wheres []*conditions, sum *FlowSummary, s *summing) error {
	step := stepFor(sum.First.UnixMicro(), sum.Last.UnixMicro())
	if sum.Flows == 0 || sum.Step < closer*step {
		return nil
	}
	sum.Step = step
	clear(s.times)
	for i, p := range parts {
		if wheres[i] == nil {
			continue
		}
		if err := f.sumTimes(ctx, p, wheres[i], step, s); err != nil {
			return err
		}
	}
	return nil
}

// sumTimes counts the flows of a segment by steps of time.
func (f *Flows) sumTimes(ctx context.Context, p part, c *conditions, step time.Duration, s *summing) error {
	rows, err := f.engine.db.QueryContext(ctx, fmt.Sprintf("SELECT %s AS step, count(*), %s, %s FROM %s.main.flows WHERE %s GROUP BY ALL",
		stepOf("start", step.Microseconds()), total("packets"), total("bytes"), p.seg.alias, c), c.args...)
	if err != nil {
		return explainDuck(p.seg.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var at int64
		var n FlowCount
		if err := rows.Scan(&at, &n.Flows, &n.Packets, &n.Bytes); err != nil {
			return err
		}
		addTo(s.times, at, n)
	}
	return explainDuck(p.seg.path, rows.Err())
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

// What a row of the query of sumEnds counts.
const (
	countedFlows = iota
	countedTalker
	countedPort
)

// sumEnds counts addresses and ports, of every frame or of one in some: then each stands for that many. It goes over the flows
// once.
func (f *Flows) sumEnds(ctx context.Context, p part, c *conditions, every uint64, s *summing) (sampled uint64, err error) {
	where := c.String()
	if every > 1 {
		// Each recording begins elsewhere: of many short ones, not all are in the sample.
		where = c.only(fmt.Sprintf("(block::UBIGINT + run::UBIGINT) %% %d::UBIGINT = 0::UBIGINT", every))
	}
	counts := "count(*)::UBIGINT, " + total("packets") + ", " + total("bytes") + " AS size"
	most := fmt.Sprintf("GROUP BY ALL ORDER BY size DESC LIMIT %d", 4*flowTop)
	// A flow of a host with itself counts once.
	query := fmt.Sprintf(`WITH few AS MATERIALIZED (SELECT src_hi, src, dst_hi, dst, proto, dst_port, packets, bytes FROM %s.main.flows WHERE %s),
		sides AS (SELECT src_hi AS hi, src AS lo, packets, bytes FROM few
			UNION ALL SELECT dst_hi, dst, packets, bytes FROM few WHERE NOT (src_hi = dst_hi AND src = dst))
		SELECT %d, 0::UBIGINT, 0::UBIGINT, count(*)::UBIGINT, 0::UBIGINT, 0::UBIGINT FROM few
		UNION ALL (SELECT %d, hi, lo, %s FROM sides %s)
		UNION ALL (SELECT %d, proto::UBIGINT, dst_port::UBIGINT, %s FROM few WHERE proto IN (%d::UTINYINT, %d::UTINYINT) %s)`,
		p.seg.alias, where, countedFlows, countedTalker, counts, most, countedPort, counts, sdk.ProtoTCP, sdk.ProtoUDP, most)
	rows, err := f.engine.db.QueryContext(ctx, query, c.args...)
	if err != nil {
		return 0, explainDuck(p.seg.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var what int
		var a, b uint64
		var n FlowCount
		if err := rows.Scan(&what, &a, &b, &n.Flows, &n.Packets, &n.Bytes); err != nil {
			return 0, err
		}
		stands := FlowCount{n.Flows * every, n.Packets * every, n.Bytes * every}
		switch what {
		case countedTalker:
			addTo(s.talkers, whole(a, b), stands)
		case countedPort:
			addTo(s.ports, [2]uint16{uint16(a), uint16(b)}, stands) //nolint:gosec // of such columns
		default:
			sampled = n.Flows
		}
	}
	return sampled, explainDuck(p.seg.path, rows.Err())
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
