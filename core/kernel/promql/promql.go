// Package promql answers PromQL over the telemetry store. A tenant and an expression go in; values, series, label names
// and metadata come out, under the names and in the notation of Prometheus. The engine is Prometheus's own; this package
// gives it our samples and translates names.
package promql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"golang.org/x/sync/semaphore"

	"github.com/picketwatch/picket/core/kernel/store"
)

// EngineVersion is the release of Prometheus whose engine this is.
const EngineVersion = "3.8.0"

// Samples is the store as this package needs it; store.Telemetry is one.
type Samples interface {
	Shapes(tenant string) ([]store.MetricShape, uint64)
	ShapesVersion() uint64
	EachSeries(tenant string, m store.MetricShape, fn func(store.KnownSeries))
	CountSeries(tenant string, metrics []store.MetricShape) int
	Refresh(list []store.KnownSeries)
	RawSamples(ctx context.Context, list []store.KnownSeries, q store.RawQuery) (samples [][]store.RawSample, read int, missing []error, err error)
}

// Config says what to answer from and how much an answer may take. Zero values mean the defaults.
type Config struct {
	Samples Samples
	// Agents lists the tenant's agents; their name and group become labels. It is asked every few seconds at most.
	Agents func(ctx context.Context, tenant string) ([]store.AgentName, error)

	// Notes are what is known of a tenant's metrics beside their samples, by the names with which they are stored. They may be nil.
	Notes func(ctx context.Context, tenant string) (map[string]store.MetricNote, error)

	Timeout    time.Duration // of one query; default 1 minute
	Lookback   time.Duration // how long a sample stays the newest; default 5 minutes
	MaxSamples int           // that a query may hold at once; default 5,000,000
	MaxRead    int           // samples that a query may read; default 100,000,000
	MaxSeries  int           // that a selector may find; default 200,000
	Parallel   int           // queries at once; default 4
	Now        func() time.Time
	Log        *slog.Logger
}

func (c Config) withDefaults() Config {
	or := func(v *int, fallback int) {
		if *v <= 0 {
			*v = fallback
		}
	}
	or(&c.MaxSamples, 5_000_000)
	or(&c.MaxRead, 100_000_000)
	or(&c.MaxSeries, 200_000)
	or(&c.Parallel, 4)
	if c.Timeout <= 0 {
		c.Timeout = time.Minute
	}
	if c.Lookback <= 0 {
		c.Lookback = 5 * time.Minute
	}
	if c.Agents == nil {
		c.Agents = func(context.Context, string) ([]store.AgentName, error) { return nil, nil }
	}
	if c.Notes == nil {
		c.Notes = func(context.Context, string) (map[string]store.MetricNote, error) { return nil, nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Engine answers queries. It is safe for concurrent use.
type Engine struct {
	cfg    Config
	engine *promql.Engine
	names  names
	agents directory
	memory memory
	turn   chan struct{}       // one for each query that may run
	taken  *semaphore.Weighted // by answers that are not closed: as many points as one query may hold
}

// New returns an engine.
func New(cfg Config) *Engine {
	cfg = cfg.withDefaults()
	return &Engine{
		cfg:    cfg,
		names:  names{samples: cfg.Samples},
		agents: directory{list: cfg.Agents, now: cfg.Now, log: cfg.Log},
		turn:   make(chan struct{}, cfg.Parallel),
		taken:  semaphore.NewWeighted(int64(cfg.MaxSamples)),
		engine: promql.NewEngine(promql.EngineOpts{
			MaxSamples:               cfg.MaxSamples,
			Timeout:                  cfg.Timeout,
			LookbackDelta:            cfg.Lookback,
			NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
			EnableAtModifier:         true,
			EnableNegativeOffset:     true,
		}),
	}
}

// Kinds of errors, by Prometheus's words.
const (
	BadData   = "bad_data"
	Execution = "execution"
	Timeout   = "timeout"
	Canceled  = "canceled"
	Internal  = "internal"
)

// Error is why a query has no answer, in the words that Prometheus's clients know.
type Error struct {
	Kind string
	Err  error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func bad(name string, err error) error {
	return &Error{BadData, fmt.Errorf("invalid parameter %q: %w", name, err)}
}

// failure says which kind of error a query ended with.
func failure(err error) error {
	var kind = Execution
	var canceled promql.ErrQueryCanceled
	var late promql.ErrQueryTimeout
	var storage promql.ErrStorage
	switch {
	case errors.As(err, &late), errors.Is(err, context.DeadlineExceeded):
		kind = Timeout
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		kind = Canceled
	case errors.As(err, &storage), errors.Is(err, errStore):
		kind = Internal
	}
	return &Error{kind, err}
}

// Bounds of an expression. The parser is not broken off by a time-out, and takes the square of the depth and of the length of a chain
// of operators: 2 s for 10,000 brackets, 5 s for 32,000 additions.
const (
	maxExpr      = 64 << 10 // bytes
	maxNesting   = 200
	maxOperators = 5000
)

func tooLarge(expr string) error {
	depth, deepest, operators := 0, 0, 0
	if len(expr) <= maxExpr {
		for i := 0; i < len(expr); i++ {
			switch expr[i] {
			case '(':
				depth++
				deepest = max(deepest, depth)
			case ')':
				depth--
			case '+', '-', '*', '/', '%', '^', '=', '<', '>':
				operators++
			case '"', '\'', '`':
				i += quoted(expr[i:])
			case '#':
				line, _, _ := strings.Cut(expr[i:], "\n")
				i += len(line)
			}
		}
	}
	if len(expr) > maxExpr || deepest > maxNesting || operators > maxOperators {
		return bad("query", fmt.Errorf("an expression may have %d bytes, %d operators, and brackets within brackets up to %d", maxExpr, maxOperators, maxNesting))
	}
	return nil
}

// quoted says how far it is from the quote with which text begins to the one that ends it.
func quoted(text string) int {
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == text[0]:
			return i
		case text[i] == '\\' && text[0] != '`':
			i++
		}
	}
	return len(text)
}

// hasSubquery reports whether an expression may have a subquery; of one that has none it may say so, too.
func hasSubquery(expr string) bool {
	_, behind, _ := strings.Cut(expr, "[")
	return strings.Contains(behind, ":")
}

// Options narrow a query. Zero values mean the engine's.
type Options struct {
	Lookback time.Duration
	Timeout  time.Duration
	Limit    int // series of the answer; 0: all
}

// Query evaluates an expression at one moment. The answer must be closed; while large ones are not, others wait.
func (e *Engine) Query(ctx context.Context, tenant, expr string, at time.Time, o Options) (*Answer, error) {
	return e.run(ctx, tenant, expr, o, func(ctx context.Context, q *queryable, opts promql.QueryOpts) (promql.Query, error) {
		return e.engine.NewInstantQuery(ctx, q, opts, expr, at)
	})
}

// QueryRange evaluates an expression at each step from start to end. The answer must be closed.
func (e *Engine) QueryRange(ctx context.Context, tenant, expr string, start, end time.Time, step time.Duration, o Options) (*Answer, error) {
	return e.run(ctx, tenant, expr, o, func(ctx context.Context, q *queryable, opts promql.QueryOpts) (promql.Query, error) {
		return e.engine.NewRangeQuery(ctx, q, opts, expr, start, end, step)
	})
}

func (e *Engine) run(ctx context.Context, tenant, expr string, o Options, prepare func(context.Context, *queryable, promql.QueryOpts) (promql.Query, error)) (*Answer, error) {
	if err := tooLarge(expr); err != nil {
		return nil, err
	}
	if o.Timeout <= 0 || o.Timeout > e.cfg.Timeout {
		o.Timeout = e.cfg.Timeout
	}
	if o.Lookback <= 0 {
		o.Lookback = e.cfg.Lookback
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	q := &queryable{engine: e, tenant: tenant, lookback: o.Lookback, onGrid: !hasSubquery(expr)}
	query, err := prepare(ctx, q, promql.NewPrometheusQueryOpts(false, o.Lookback))
	if err != nil {
		return nil, bad("query", err)
	}
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		query.Close()
		return nil, &Error{Timeout, fmt.Errorf("%d other queries are running; try again in a moment", e.cfg.Parallel)}
	}
	if err := ctx.Err(); err != nil {
		query.Close()
		return nil, failure(err)
	}
	res := query.Exec(ctx)
	if res.Err != nil {
		query.Close()
		return nil, failure(res.Err)
	}
	size := min(points(res.Value), int64(e.cfg.MaxSamples))
	if err := e.taken.Acquire(ctx, size); err != nil { // with its turn in hand, so that there are few
		query.Close()
		return nil, &Error{Timeout, errors.New("answers to other queries have not been fetched yet; try again in a moment")}
	}
	a := &Answer{value: res.Value, close: sync.OnceFunc(func() { query.Close(); e.taken.Release(size) }), limit: o.Limit}
	a.Warnings, a.Infos = res.Warnings.AsStrings(query.String(), 10, 10)
	a.Warnings = append(a.Warnings, q.warnings()...)
	a.cut()
	return a, nil
}

// points is what a value takes of memory, roughly; labels count, too.
func points(v parser.Value) (n int64) {
	const ofLabels = 20
	switch v := v.(type) {
	case promql.Vector:
		n = int64(len(v)) * (1 + ofLabels)
	case promql.Matrix:
		for _, s := range v {
			n += int64(len(s.Floats)) + ofLabels
		}
	}
	return n
}

// Format writes an expression as people like to read it.
func (e *Engine) Format(expr string) (string, error) {
	if err := tooLarge(expr); err != nil {
		return "", err
	}
	parsed, err := parser.ParseExpr(expr)
	if err != nil {
		return "", bad("query", err)
	}
	return parsed.Pretty(0), nil
}

// Find says which series are meant: those that fit one of the selectors, or all without any, and had a sample from
// From on, as far as is known.
type Find struct {
	Matches []string
	From    time.Time
	Limit   int // 0: all
}

func (f Find) matchers() ([][]*labels.Matcher, error) {
	sets, err := parser.ParseMetricSelectors(f.Matches)
	if err != nil {
		return nil, bad("match[]", err)
	}
	for _, set := range sets {
		if !narrows(set) {
			return nil, &Error{BadData, errors.New("match[] must contain at least one non-empty matcher")}
		}
	}
	return sets, nil
}

func narrows(set []*labels.Matcher) bool {
	for _, m := range set {
		if m != nil && !m.Matches("") {
			return true
		}
	}
	return false
}

// since is the moment from which a series must have a sample.
func (f Find) since() int64 {
	if f.From.IsZero() {
		return 0
	}
	return timestamp.FromTime(f.From)
}
