package store

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// TelemetryConfig says where samples live and how much they may take. Zero values mean the defaults.
type TelemetryConfig struct {
	Dir         string        // for example DIR/telemetry
	MemoryLimit int64         // bytes; default 256 MB
	Threads     int           // default 2
	Retention   time.Duration // default 30 days
	MaxFuture   time.Duration // how far ahead a sample's time may be; default 10 minutes
	QueueRows   int           // rows that may wait for the writer; default 200,000
	GroupRows   int           // commit at so many rows; default 10,000
	GroupWait   time.Duration // or after so long; default 50 ms
	MaxSeries   int           // default 1,000,000
	Now         func() time.Time
	Log         *slog.Logger
}

// Telemetry is the store of samples.
type Telemetry struct{}

func OpenTelemetry(ctx context.Context, cfg TelemetryConfig) (*Telemetry, error) { return nil, errStub }
func (t *Telemetry) Close() error                                                { return errStub }
func (t *Telemetry) Ping(ctx context.Context) error                              { return errStub }

// SampleBatch is what one agent sends. A source sends its batches in order of Seq and waits for each answer, so a
// sequence number that is not above the stored one is a repetition. A recreated queue is a new Epoch.
type SampleBatch struct {
	Tenant, Agent, Epoch string
	Seq                  uint64
	Samples              []sdk.Sample
}

// AppendResult says what became of a batch. It comes after the commit.
type AppendResult struct {
	Stored        int    // rows written now
	Duplicate     int    // rows that were there already
	TooOld        int    // refused: past retention
	TooNew        int    // refused: too far in the future
	Invalid       int    // refused: not a number, name or labels out of bounds, too many series
	StoredThrough uint64 // highest sequence number of (agent, epoch) that is on disk
}

// Append stores a batch exactly once and returns after the commit. It returns *BusyError when the queue is full.
func (t *Telemetry) Append(ctx context.Context, b SampleBatch) (AppendResult, error) {
	return AppendResult{}, errStub
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
}

// SeriesLine is one series of a result.
type SeriesLine struct {
	Agent  string
	Labels map[string]string
	Points []Point
}

// Point is the value of one step, at the step's start.
type Point struct {
	Time  time.Time
	Value float64
	Valid bool
}

// Series answers a query; *QueryError says what is wrong with it. An unknown metric gives an empty result.
func (t *Telemetry) Series(ctx context.Context, q SeriesQuery) (SeriesResult, error) {
	return SeriesResult{}, errStub
}

// MetricName is one metric that has been seen.
type MetricName struct {
	Metric, Unit string
	Type         sdk.MetricType
	Series       int
}

// MetricNames lists the tenant's metrics by name.
func (t *Telemetry) MetricNames(ctx context.Context, tenant string) ([]MetricName, error) {
	return nil, errStub
}

// LastValue is the newest value of a series.
type LastValue struct {
	Agent, Metric, Unit string
	Labels              map[string]string
	Time                time.Time
	Value               float64
}

// Last returns the newest values of a metric from memory; an empty agent means all.
func (t *Telemetry) Last(tenant, metric, agent string) []LastValue { return nil }

// TelemetryStats are counters since the start, and sizes now.
type TelemetryStats struct {
	Rows, Duplicates, TooOld, TooNew, Invalid, Busy, Commits, Failures uint64
	QueuedRows, Series, Segments                                       int
	Bytes                                                              int64 // on disk
}

// Stats returns the counters.
func (t *Telemetry) Stats() TelemetryStats { return TelemetryStats{} }

var errStub = errors.New("store: not in place yet")
