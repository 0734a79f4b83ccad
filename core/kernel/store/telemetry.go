package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// TelemetryConfig says where samples live and how much they may take. Zero values mean the defaults.
type TelemetryConfig struct {
	Dir         string // for example DIR/telemetry
	MemoryLimit int64  // bytes; default 256 MB
	Threads     int    // default 2
	Retention   TelemetryRetention
	Archive     time.Duration // age at which a day becomes a Parquet file; default 7 days
	MaxFuture   time.Duration // how far ahead a sample's time may be; default 10 minutes
	QueueRows   int           // rows that may wait for the writer; default 200,000
	GroupRows   int           // commit at so many rows; default 10,000
	GroupWait   time.Duration // or after so long, or a tenth of it without another batch; default 200 ms
	MaxSeries   int           // default 1,000,000
	AgentSeries int           // of them for one agent; default 20,000
	PushSeries  int           // of them for one sender that is no agent; default 200,000
	LabelBytes  int64         // names and labels of all series; default 256 MiB
	// Room says how many series a tenant may have, 0 for any; Full notes that there were more. nil: nobody is bounded.
	Room func(tenant string) int64
	Full func(tenant string)
	Now  func() time.Time
	Log  *slog.Logger

	step     func(point string) // see engine
	openRows int64              // see keep.go
}

func (c TelemetryConfig) withDefaults() TelemetryConfig {
	if c.MemoryLimit <= 0 {
		c.MemoryLimit = 256 << 20
	}
	or := func(v *int, fallback int) {
		if *v <= 0 {
			*v = fallback
		}
	}
	or(&c.Threads, 2)
	or(&c.QueueRows, 200_000)
	or(&c.GroupRows, 10_000)
	or(&c.MaxSeries, 1_000_000)
	or(&c.AgentSeries, 20_000)
	or(&c.PushSeries, 200_000)
	if c.openRows <= 0 {
		c.openRows = openRows
	}
	if c.LabelBytes <= 0 {
		c.LabelBytes = 256 << 20
	}
	orTime := func(v *time.Duration, fallback time.Duration) {
		if *v <= 0 {
			*v = fallback
		}
	}
	c.Retention = c.Retention.withDefaults()
	orTime(&c.Archive, 7*24*time.Hour)
	orTime(&c.MaxFuture, 10*time.Minute)
	orTime(&c.GroupWait, 200*time.Millisecond)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Telemetry is the store of samples. It is safe for concurrent use.
//
// Locks, in the order in which they may be taken: closing, segments.mu, catalogue.mu. None is held while waiting for the
// writer.
type Telemetry struct {
	cfg       TelemetryConfig
	engine    *engine
	segments  *segments
	catalogue *catalogue

	queue  chan *request
	jobs   chan func()        // run by the writer between two groups
	tidy   chan chan struct{} // asks for housekeeping now
	queued atomic.Int64       // rows in the queue and in the group being written
	done   chan struct{}      // the writer has ended

	rollups   rollups
	retention atomic.Pointer[TelemetryRetention]
	stopKeep  context.CancelFunc
	kept      chan struct{} // housekeeping has ended

	closing sync.RWMutex // held for reading while a request enters the queue, so that Close finds none in between
	closed  bool

	tap        atomic.Pointer[Tap]
	complained atomic.Int64 // when refused samples were logged last, in seconds
	stats      struct {
		rows, duplicates, tooOld, tooNew, invalid, busy, commits, failures atomic.Uint64
	}
}

// maxQueued is how many batches may wait, whatever their size.
const maxQueued = 4096

// OpenTelemetry opens the folder, replaying what a crash left in its logs, and starts the writer.
func OpenTelemetry(ctx context.Context, cfg TelemetryConfig) (*Telemetry, error) {
	cfg = cfg.withDefaults()
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("telemetry folder %s cannot be made: %w; choose another with --data", cfg.Dir, err)
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, err
	}
	e, err := openEngine(ctx, cfg)
	if err != nil {
		return nil, err
	}
	e.step = cfg.step
	t := &Telemetry{cfg: cfg, engine: e, queue: make(chan *request, maxQueued), jobs: make(chan func()), tidy: make(chan chan struct{}),
		done: make(chan struct{}), kept: make(chan struct{})}
	t.retention.Store(&cfg.Retention)
	if err := t.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open telemetry: %w", err), e.close())
	}
	keeping, stop := context.WithCancel(context.Background())
	t.stopKeep = stop
	go t.run()
	go t.keep(keeping)
	return t, nil
}

func (t *Telemetry) load(ctx context.Context) (err error) {
	if t.catalogue, err = openCatalogue(ctx, t.cfg.Dir, catalogueLimits{t.cfg.MaxSeries, t.cfg.AgentSeries, t.cfg.PushSeries, t.cfg.LabelBytes, t.cfg.Room, t.cfg.Full}, t.engine); err != nil {
		return err
	}
	if t.segments, err = openSegments(t.cfg.Dir, t.engine, segmentDDL, segmentVersion, t.cfg.Now); err != nil {
		return err
	}
	t.segments.oldest, t.segments.opened, t.segments.beside = 1, t.readShape, t.archives
	if err := t.rollups.open(t.cfg.Dir); err != nil {
		return err
	}
	return t.readLast(ctx)
}

// readLast fills the newest values from the last quarter of an hour that was stored.
func (t *Telemetry) readLast(ctx context.Context) error {
	list := t.segments.list()
	if len(list) == 0 {
		return nil
	}
	newest := list[len(list)-1].day
	held, missing := t.segments.forRead(ctx, newest-1, newest)
	defer t.segments.release(held...)
	for _, err := range missing { // one bad file is no reason not to start
		t.failed(err)
	}
	for _, seg := range held {
		table := t.rows(seg)
		rows, err := t.engine.db.QueryContext(ctx, "SELECT series_id, epoch_us(max(ts)), arg_max(value, ts) FROM "+table+
			" WHERE ts > (SELECT max(ts) - INTERVAL 15 MINUTE FROM "+table+") GROUP BY series_id")
		if err != nil {
			return explainDuck(seg.path, err)
		}
		defer rows.Close()
		for rows.Next() {
			var id uint32
			var l lastSample
			if err := rows.Scan(&id, &l.us, &l.value); err != nil {
				return explainDuck(seg.path, err)
			}
			if s := t.catalogue.byID[id]; s != nil && l.us > s.last.us {
				s.last = l
			}
		}
		if err := rows.Err(); err != nil {
			return explainDuck(seg.path, err)
		}
	}
	return nil
}

// SeriesOf is how many series a tenant has.
func (t *Telemetry) SeriesOf(tenant string) int64 { return t.catalogue.countOf(tenant) }

// Close writes what is queued, merges logs and closes the files. It is safe to call twice.
func (t *Telemetry) Close() error {
	t.closing.Lock()
	if t.closed {
		t.closing.Unlock()
		return nil
	}
	t.closed = true
	t.closing.Unlock()
	t.stopKeep()
	<-t.kept
	close(t.queue) // nothing enters it any more
	<-t.done
	return t.engine.close()
}

// Ping says whether the engine answers.
func (t *Telemetry) Ping(ctx context.Context) error {
	var one int
	return t.engine.db.QueryRowContext(ctx, "SELECT 1").Scan(&one)
}

// SampleBatch is what one agent sends. A source sends its batches in order of Seq and waits for each answer, so a
// sequence number that is not above the stored one is a repetition. A recreated queue is a new Epoch.
type SampleBatch struct {
	Tenant, Agent, Epoch string
	Seq                  uint64
	Samples              []sdk.Sample
	Rows                 []SampleRow // and of series that are known already
	// AnyValue keeps what is no number or infinite, and with it Prometheus's mark of a series that has ended. It is for
	// sources that mean something by them; what only PromQL can read, the other readers leave out.
	AnyValue bool
}

// SampleRow is a sample of a series that Ref has found for the same sender.
type SampleRow struct {
	Of     SeriesRef // one that is not known is refused as invalid
	Micros int64     // Unix time
	Value  float64
}

// AppendResult says what became of a batch. It comes after the commit.
type AppendResult struct {
	Stored        int    // rows written now
	Duplicate     int    // rows that were there already
	TooOld        int    // refused: past retention
	TooNew        int    // refused: too far in the future
	Invalid       int    // refused: not a number, name or labels out of bounds, too many series
	InvalidReason string // why the first of the invalid was refused
	StoredThrough uint64 // highest sequence number of (agent, epoch) that is on disk
}

// Agg says how the samples of a step become one value.
type Agg string

const (
	AggAvg  Agg = "avg"
	AggMin  Agg = "min"
	AggMax  Agg = "max"
	AggLast Agg = "last"
)

// SeriesQuery asks for the series of a metric. Labels and Agent narrow it. A Step of 0 is chosen for about 300 points.
type SeriesQuery struct {
	Tenant, Metric string
	Labels         map[string]string
	Agent          string
	From, To       time.Time
	Step           time.Duration
	Agg            Agg  // default avg
	Rate           bool // a counter as its increase per second, resets allowed for
}

// SeriesResult holds one line per series, each with one point per step; a step without samples has a point that is
// not Valid.
type SeriesResult struct {
	Metric, Unit string
	Type         sdk.MetricType
	Step         time.Duration
	Series       []SeriesLine
	Truncated    bool // there were more series than one answer holds
	Incomplete   bool // a file could not be read; the log says which
}

// SeriesLine is one series of a result.
type SeriesLine struct {
	Agent  string
	Labels map[string]string // not to be changed
	Points []Point
}

// Point is the value of one step, at the step's start.
type Point struct {
	Time  time.Time
	Value float64
	Valid bool
}

// TelemetryStats are counters since the start, and sizes now.
type TelemetryStats struct {
	Rows, Duplicates, TooOld, TooNew, Invalid, Busy, Commits, Failures uint64
	QueuedRows, Series, Segments                                       int
	Bytes                                                              int64 // on disk
	RollUpBytes                                                        int64 // on disk, beside those
}

// Stats returns the counters.
func (t *Telemetry) Stats() TelemetryStats {
	s := TelemetryStats{Rows: t.stats.rows.Load(), Duplicates: t.stats.duplicates.Load(), TooOld: t.stats.tooOld.Load(),
		TooNew: t.stats.tooNew.Load(), Invalid: t.stats.invalid.Load(), Busy: t.stats.busy.Load(), Commits: t.stats.commits.Load(),
		Failures: t.stats.failures.Load(), QueuedRows: int(t.queued.Load()), Series: t.catalogue.count()}
	s.Segments, s.Bytes = t.segments.size()
	_, s.RollUpBytes = t.rollups.size()
	return s
}
