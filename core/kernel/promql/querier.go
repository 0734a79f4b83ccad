package promql

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	// blockSamples is how many samples are read at a time, roughly: a block of series is read as a whole, and let go
	// when the engine has walked through its series.
	blockSamples = 500_000
	usualGap     = 15 * time.Second // between samples of a series of which only one is known
	// The years that a timestamp can be written in.
	earliest, latest = -62_135_596_800_000, 253_402_300_799_000
)

// errStore marks an error of the store, which is nobody's fault who asks.
var errStore = errors.New("the samples cannot be read")

// queryable gives one query the samples of one tenant.
type queryable struct {
	engine   *Engine
	tenant   string
	lookback time.Duration
	onGrid   bool // the query is evaluated at its own steps alone, not at those of a subquery

	mu      sync.Mutex // guards what follows
	read    int        // samples so far
	missing int        // files that could not be opened
}

// Querier is for the engine. Its times are those of the widest selector; each selector has its own.
func (q *queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{queryable: q, from: mint, to: maxt}, nil
}

func (q *queryable) warnings() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.missing == 0 {
		return nil
	}
	return []string{"some files of samples could not be read; the log of the server says which"}
}

type querier struct {
	*queryable
	from, to int64
}

func (q *querier) Close() error { return nil }

// found is a series that fits.
type found struct {
	labels labels.Labels
	from   []store.KnownSeries // more than one when two are the same after translation
}

// Select returns the series that fit, in the order in which their samples lie in files.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	from, to := q.from, q.to
	if hints != nil {
		from, to = hints.Start, hints.End
	}
	list, err := q.engine.selected(ctx, q.tenant, matchers)
	if err != nil {
		return storage.ErrSeriesSet(err)
	}
	if sorted {
		slices.SortFunc(list, func(a, b found) int { return labels.Compare(a.labels, b.labels) })
	}
	s := &selection{querier: q, ctx: ctx, from: max(from, earliest), to: min(to, latest), list: list}
	s.newestOnly = hints != nil && hints.Range == 0 && to-from < q.lookback.Milliseconds()
	if hints != nil && hints.Range == 0 && q.onGrid {
		s.start, s.step = from+q.lookback.Milliseconds()-1, max(hints.Step, 1) // a query of one moment has no step
	}
	s.most = q.engine.cfg.MaxRead
	if hints != nil && hints.Func == "timestamp" { // the one function that walks through all series at once
		s.most = min(s.most, q.engine.cfg.MaxSamples)
	}
	s.cut()
	set := &seriesSet{each: make([]lazySeries, len(s.list)), at: -1}
	for i := range set.each {
		set.each[i] = lazySeries{s, i}
	}
	return set
}

// selected returns the tenant's series that fit all matchers, mostly without looking for them.
func (e *Engine) selected(ctx context.Context, tenant string, matchers []*labels.Matcher) ([]found, error) {
	is, err := e.agents.of(ctx, tenant)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	table := e.names.of(tenant)
	now := remembered{names: weak.Make(table), agents: weak.Make(is)}
	names, _ := table.narrow(matchers)
	for _, name := range names {
		now.series += e.cfg.Samples.CountSeries(tenant, table.shapes[name])
	}
	key := selectorKey(tenant, matchers)
	if list, ok := e.memory.recall(key, now, e.cfg.Samples); ok {
		return list, nil
	}
	now.list, err = e.find(ctx, tenant, 0, e.cfg.MaxSeries, matchers)
	if err == nil {
		e.memory.keep(key, now)
	}
	return slices.Clone(now.list), err
}

// find returns the tenant's series that fit all matchers and were heard of since a moment.
func (e *Engine) find(ctx context.Context, tenant string, since int64, most int, matchers []*labels.Matcher) ([]found, error) {
	var list []found
	byLabels := map[uint64][]int{} // where a hash is in the list
	err := e.walk(ctx, tenant, since, matchers, func(k store.KnownSeries, p *pairs) error {
		ls := p.labels()
		hash := ls.Hash()
		for _, i := range byLabels[hash] {
			if labels.Equal(list[i].labels, ls) {
				list[i].from = append(list[i].from, k)
				return nil
			}
		}
		if len(list) == most {
			return fmt.Errorf("the selector finds more than %d series; narrow it", most)
		}
		byLabels[hash] = append(byLabels[hash], len(list))
		list = append(list, found{ls, []store.KnownSeries{k}})
		return nil
	})
	return list, err
}

// walk calls fn for each of the tenant's series that fit. The pairs are valid during the call.
func (e *Engine) walk(ctx context.Context, tenant string, since int64, matchers []*labels.Matcher, fn func(store.KnownSeries, *pairs) error) error {
	book, err := e.agents.of(ctx, tenant)
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	table := e.names.of(tenant)
	names, rest := table.narrow(matchers)
	gate := newGate(book, rest)
	var p pairs
	var batch []store.KnownSeries
	for _, name := range names {
		for _, shape := range table.shapes[name] {
			batch = batch[:0]
			e.cfg.Samples.EachSeries(tenant, shape, func(k store.KnownSeries) {
				if (k.LastAt == 0 || k.LastAt >= since) && gate.open(k.Agent) {
					batch = append(batch, k)
				}
			})
			if err := ctx.Err(); err != nil {
				return err
			}
			for _, k := range batch {
				p.fill(name, k.Labels, book.sender(k.Agent), store.OwnPush(k.Agent))
				if !p.fit(rest) {
					continue
				}
				if err := fn(k, &p); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// narrow returns the metrics that fit the matchers of the name, and the other matchers. A metric may also be asked for
// by the name under which it is stored.
func (t *nameTable) narrow(matchers []*labels.Matcher) (names []string, rest []*labels.Matcher) {
	var ofName []*labels.Matcher
	names, narrowed := t.names, false
	for _, m := range matchers {
		switch {
		case m.Name != model.MetricNameLabel:
			rest = append(rest, m)
		case m.Type == labels.MatchEqual && m.Value != "" && !narrowed:
			names, narrowed = t.find(m.Value), true
		default:
			ofName = append(ofName, m)
		}
	}
	if len(ofName) == 0 {
		return names, rest
	}
	var fit []string
	for _, name := range names {
		if !slices.ContainsFunc(ofName, func(m *labels.Matcher) bool { return !m.Matches(name) }) {
			fit = append(fit, name)
		}
	}
	return fit, rest
}

// gate tells by the agent alone which series cannot fit, before their labels are translated: most queries of a fleet are
// about one agent or group.
type gate struct {
	book     *phoneBook
	matchers []*labels.Matcher
	known    map[string]bool
}

func newGate(book *phoneBook, matchers []*labels.Matcher) *gate {
	g := &gate{book: book, known: map[string]bool{}}
	for _, m := range matchers {
		if m.Name == agentID || m.Name == agentName || m.Name == agentGroup {
			g.matchers = append(g.matchers, m)
		}
	}
	return g
}

func (g *gate) open(agent string) bool {
	if len(g.matchers) == 0 {
		return true
	}
	fits, known := g.known[agent]
	if !known {
		fits = g.fits(agent)
		g.known[agent] = fits
	}
	return fits
}

func (g *gate) fits(agent string) bool {
	a := g.book.sender(agent)
	if a == nil {
		return true // its labels will tell
	}
	for _, m := range g.matchers {
		if !m.Matches(map[string]string{agentID: a.ID, agentName: a.Name, agentGroup: a.Group}[m.Name]) {
			return false
		}
	}
	return true
}

// selection is what a selector found. Samples are read a block of series at a time, when the engine comes to it.
type selection struct {
	*querier
	ctx        context.Context
	from, to   int64 // Unix milliseconds, both included
	newestOnly bool  // the engine looks at the newest sample of each series alone
	start      int64 // from here on, at every so many milliseconds,
	step       int64 // the engine looks at the newest sample alone; 0: it looks at all samples
	most       int   // samples that the query may have read by the end
	list       []found

	ends   []int // the first series after each block
	block  int   // that is held, from 1; 0: none
	first  int   // its first series
	held   [][]store.RawSample
	failed error
}

// cut divides the series into blocks.
func (s *selection) cut() {
	total := 0
	for i, f := range s.list {
		for _, k := range f.from {
			gap := k.Gap
			if gap <= 0 || gap > usualGap { // a pause says nothing of how many samples came before it
				gap = usualGap
			}
			total += int((s.to-s.from)/max(gap.Milliseconds(), 1)) + 1
		}
		if total >= blockSamples {
			s.ends = append(s.ends, i+1)
			total = 0
		}
	}
	if n := len(s.list); n > 0 && (len(s.ends) == 0 || s.ends[len(s.ends)-1] < n) {
		s.ends = append(s.ends, n)
	}
}

// samples returns those of the series at i.
func (s *selection) samples(i int) ([]store.RawSample, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	block, _ := slices.BinarySearch(s.ends, i+1)
	if s.block != block+1 {
		if s.failed = s.load(block); s.failed != nil {
			return nil, s.failed
		}
	}
	return s.held[i-s.first], nil
}

func (s *selection) load(block int) error {
	s.held, s.block, s.first = nil, block+1, 0
	if block > 0 {
		s.first = s.ends[block-1]
	}
	list := s.list[s.first:s.ends[block]]
	held, newest := make([][]store.RawSample, len(list)), make([]store.RawSample, 0, len(list))
	var wanted []store.KnownSeries
	var into []int
	for i, f := range list {
		for _, k := range f.from {
			sample, known := s.remembered(k)
			switch {
			case !known:
				wanted, into = append(wanted, k), append(into, i)
			case sample.Millis < s.from:
			case held[i] != nil:
				held[i] = append(held[i], sample)
			default:
				newest = append(newest, sample)
				held[i] = newest[len(newest)-1 : len(newest) : len(newest)]
			}
		}
	}
	if err := s.readInto(held, wanted, into); err != nil {
		return err
	}
	for i, f := range list {
		if len(f.from) > 1 {
			held[i] = store.InOrder(held[i])
		}
	}
	s.held = held
	return nil
}

// remembered returns the newest sample of a series when that is all that counts and nothing later can be meant.
func (s *selection) remembered(k store.KnownSeries) (store.RawSample, bool) {
	if !s.newestOnly || k.LastAt == 0 || k.LastAt > s.to {
		return store.RawSample{}, false
	}
	return store.RawSample{Millis: k.LastAt, Value: k.LastValue}, true
}

func (s *selection) readInto(held [][]store.RawSample, wanted []store.KnownSeries, into []int) error {
	if len(wanted) == 0 {
		return nil
	}
	s.mu.Lock()
	left := s.most - s.read
	s.mu.Unlock()
	lines, read, missing, err := s.engine.cfg.Samples.RawSamples(s.ctx, wanted, store.RawQuery{From: s.from, To: s.to,
		First: s.start, Step: s.step, Most: left})
	var many *store.QueryError
	switch {
	case errors.As(err, &many):
		return fmt.Errorf("the query reads more than %d samples; narrow it or take a shorter range", s.most)
	case err != nil && s.ctx.Err() != nil:
		return s.ctx.Err()
	case err != nil:
		s.engine.cfg.Log.Error("read samples", "error", err)
		return errStore // the rest would name files of this machine
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missing += len(missing)
	s.read += read
	for i, line := range lines {
		if at := into[i]; held[at] == nil {
			held[at] = line
		} else {
			held[at] = append(held[at], line...)
		}
	}
	return nil
}

// seriesSet walks through a selection.
type seriesSet struct {
	each []lazySeries
	at   int
}

func (s *seriesSet) Next() bool                        { s.at++; return s.at < len(s.each) }
func (s *seriesSet) At() storage.Series                { return &s.each[s.at] }
func (s *seriesSet) Err() error                        { return nil }
func (s *seriesSet) Warnings() annotations.Annotations { return nil }

// lazySeries is a series whose samples are read when somebody iterates over them.
type lazySeries struct {
	of *selection
	i  int
}

func (s *lazySeries) Labels() labels.Labels { return s.of.list[s.i].labels }

func (s *lazySeries) Iterator(reuse chunkenc.Iterator) chunkenc.Iterator {
	it, ok := reuse.(*iterator)
	if !ok {
		it = &iterator{}
	}
	it.at = -1
	it.samples, it.err = s.of.samples(s.i)
	return it
}

// iterator walks through the samples of a series.
type iterator struct {
	samples []store.RawSample
	at      int
	err     error
}

func (it *iterator) Next() chunkenc.ValueType {
	it.at++
	return it.here()
}

func (it *iterator) here() chunkenc.ValueType {
	if it.at >= len(it.samples) {
		it.at = len(it.samples)
		return chunkenc.ValNone
	}
	return chunkenc.ValFloat
}

// millis is a time. Under its own name, vet does not take Seek for an io.Seeker's.
type millis = int64

func (it *iterator) Seek(t millis) chunkenc.ValueType {
	it.at = max(it.at, 0)
	if it.at < len(it.samples) && it.samples[it.at].Millis < t {
		n, _ := slices.BinarySearchFunc(it.samples[it.at:], t, func(s store.RawSample, t int64) int { return int(s.Millis - t) })
		it.at += n
	}
	return it.here()
}

func (it *iterator) At() (int64, float64) { return it.samples[it.at].Millis, it.samples[it.at].Value }
func (it *iterator) AtT() int64           { return it.samples[it.at].Millis }
func (it *iterator) Err() error           { return it.err }

func (it *iterator) AtHistogram(*histogram.Histogram) (int64, *histogram.Histogram) { return 0, nil }
func (it *iterator) AtFloatHistogram(*histogram.FloatHistogram) (int64, *histogram.FloatHistogram) {
	return 0, nil
}

// LabelValues is for the engine, which knows of no limits but ours.
func (q *querier) LabelValues(ctx context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values, err := q.engine.labelValues(ctx, q.tenant, name, 0, [][]*labels.Matcher{matchers})
	return values, nil, err
}

// LabelNames is for the engine.
func (q *querier) LabelNames(ctx context.Context, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	names, err := q.engine.labelNames(ctx, q.tenant, 0, [][]*labels.Matcher{matchers})
	return names, nil, err
}

// Series lists the series that are meant. more says that there are more than the limit.
func (e *Engine) Series(ctx context.Context, tenant string, f Find) (list []map[string]string, more bool, err error) {
	sets, err := f.matchers()
	if err != nil {
		return nil, false, err
	}
	if len(sets) == 0 {
		return nil, false, &Error{BadData, errors.New("no match[] parameter provided")}
	}
	var all []found
	seen := map[uint64]bool{} // a clash of hashes would hide a series from a list; the chance is one in 10^9 at 200,000
	for _, set := range sets {
		some, err := e.find(ctx, tenant, f.since(), e.cfg.MaxSeries, set)
		if err != nil {
			return nil, false, failure(err)
		}
		for _, s := range some {
			if hash := s.labels.Hash(); !seen[hash] {
				seen[hash] = true
				all = append(all, s)
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return labels.Compare(a.labels, b.labels) })
	if more = f.Limit > 0 && len(all) > f.Limit; more {
		all = all[:f.Limit]
	}
	list = make([]map[string]string, len(all))
	for i, s := range all {
		list[i] = s.labels.Map()
	}
	return list, more, nil
}

// LabelNames lists the names of the labels of the series that are meant.
func (e *Engine) LabelNames(ctx context.Context, tenant string, f Find) (list []string, more bool, err error) {
	return f.some(func(sets [][]*labels.Matcher) ([]string, error) { return e.labelNames(ctx, tenant, f.since(), sets) })
}

// LabelValues lists the values of one label of the series that are meant.
func (e *Engine) LabelValues(ctx context.Context, tenant, name string, f Find) (list []string, more bool, err error) {
	if !model.UTF8Validation.IsValidLabelName(name) {
		return nil, false, &Error{BadData, fmt.Errorf("invalid label name: %q", name)}
	}
	return f.some(func(sets [][]*labels.Matcher) ([]string, error) {
		return e.labelValues(ctx, tenant, name, f.since(), sets)
	})
}

func (f Find) some(list func([][]*labels.Matcher) ([]string, error)) ([]string, bool, error) {
	sets, err := f.matchers()
	if err != nil {
		return nil, false, err
	}
	if len(sets) == 0 {
		sets = [][]*labels.Matcher{nil}
	}
	all, err := list(sets)
	if err != nil {
		return nil, false, failure(err)
	}
	if f.Limit > 0 && len(all) > f.Limit {
		return all[:f.Limit], true, nil
	}
	return all, false, nil
}

func (e *Engine) labelNames(ctx context.Context, tenant string, since int64, sets [][]*labels.Matcher) ([]string, error) {
	seen := map[string]bool{}
	return e.gather(ctx, tenant, since, sets, seen, func(p *pairs) {
		for _, l := range p.list {
			seen[l.Name] = true
		}
	})
}

func (e *Engine) labelValues(ctx context.Context, tenant, name string, since int64, sets [][]*labels.Matcher) ([]string, error) {
	if name == model.MetricNameLabel && since == 0 && len(sets) == 1 && len(sets[0]) == 0 {
		return slices.Clone(e.names.of(tenant).names), nil
	}
	seen := map[string]bool{}
	return e.gather(ctx, tenant, since, sets, seen, func(p *pairs) {
		if v := p.get(name); v != "" {
			seen[v] = true
		}
	})
}

func (e *Engine) gather(ctx context.Context, tenant string, since int64, sets [][]*labels.Matcher, seen map[string]bool, see func(*pairs)) ([]string, error) {
	for _, set := range sets {
		err := e.walk(ctx, tenant, since, set, func(_ store.KnownSeries, p *pairs) error {
			see(p)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(seen)), nil
}
