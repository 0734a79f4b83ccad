package promql

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/exemplar"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/metadata"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
	"github.com/prometheus/prometheus/util/testutil"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// leftOut names the cases that need native histograms or exemplars, which are not stored. They are exactly those that
// Prometheus's own storage fails as well when it is given no native histogram: TestReference shows it.
//
//go:embed testdata/left-out.txt
var leftOut string

func TestMain(m *testing.M) {
	flag.Parse()
	skip := flag.Lookup("test.skip").Value
	patterns := []string{}
	if given := skip.String(); given != "" {
		patterns = append(patterns, given)
	}
	lines := map[string][]string{} // by file
	for name := range strings.Lines(leftOut) {
		parts := strings.Split(strings.TrimSpace(name), "/")
		lines[parts[0]] = append(lines[parts[0]], parts[1])
	}
	for file, list := range lines {
		patterns = append(patterns, "^TestBuiltin$/^testdata$/^"+regexp.QuoteMeta(file)+"$/^("+strings.Join(list, "|")+")$")
	}
	if err := skip.Set(strings.Join(patterns, "|")); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The engine's own tests, over our store. Each of their storages is a tenant of its own.
func TestBuiltin(t *testing.T) {
	telemetry := openTelemetry(t, 1970)
	prometheus := New(Config{Samples: telemetry})
	tenants := 0
	engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
	promqltest.RunBuiltinTestsWithStorage(t, engine, func(testutil.T) storage.Storage {
		tenants++
		return &duckStorage{queryable{engine: prometheus, tenant: "t" + strconv.Itoa(tenants), lookback: prometheus.cfg.Lookback}, telemetry}
	})
}

// TestReference runs the same over Prometheus's own storage with native histograms left out. What it fails is what
// TestBuiltin leaves out, and nothing else.
func TestReference(t *testing.T) {
	if os.Getenv("PICKET_REFERENCE") != "" {
		engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
		promqltest.RunBuiltinTestsWithStorage(t, engine, func(t testutil.T) storage.Storage {
			return withoutHistograms{teststorage.New(t)}
		})
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestReference$", "-test.v")
	cmd.Env = append(os.Environ(), "PICKET_REFERENCE=1")
	out, _ := cmd.CombinedOutput() // it fails: that is the point
	var failed []string
	for _, found := range regexp.MustCompile(`(?m)^ +--- FAIL: TestReference/testdata/(\S+/line_\d+/.*) \([0-9.]+s\)$`).FindAllSubmatch(out, -1) {
		failed = append(failed, string(found[1]))
	}
	slices.Sort(failed)
	if len(failed) < 100 {
		t.Fatalf("only %d cases failed without native histograms: this shows nothing\n%s", len(failed), out)
	}
	if os.Getenv("PICKET_UPDATE") != "" {
		if err := os.WriteFile("testdata/left-out.txt", []byte(strings.Join(failed, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(leftOut), "\n"), failed); diff != "" {
		t.Errorf("the cases left out are not those that need native histograms (PICKET_UPDATE=1 writes the list anew): %s", diff)
	}
}

type withoutHistograms struct{ *teststorage.TestStorage }

func (s withoutHistograms) Appender(ctx context.Context) storage.Appender {
	return floatsOnly{s.TestStorage.Appender(ctx)}
}

type floatsOnly struct{ storage.Appender }

func (floatsOnly) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, nil
}

// duckStorage is our store as the tests of the engine want one.
type duckStorage struct {
	queryable
	telemetry *store.Telemetry
}

var errNotStored = errors.New("native histograms and exemplars are not stored")

func (d *duckStorage) Appender(ctx context.Context) storage.Appender {
	return &appender{d: d, ctx: ctx}
}
func (d *duckStorage) StartTime() (int64, error) { return 0, nil }
func (d *duckStorage) Close() error              { return nil }

func (d *duckStorage) ChunkQuerier(int64, int64) (storage.ChunkQuerier, error) {
	return nil, errNotStored
}

type appender struct {
	d       *duckStorage
	ctx     context.Context
	samples []sdk.Sample
}

func (a *appender) Append(_ storage.SeriesRef, ls labels.Labels, t int64, v float64) (storage.SeriesRef, error) {
	s := sdk.Sample{Metric: ls.Get(model.MetricNameLabel), Type: sdk.Gauge, Labels: ls.Map(), Time: time.UnixMilli(t), Value: v}
	delete(s.Labels, model.MetricNameLabel)
	a.samples = append(a.samples, s)
	return 0, nil
}

func (a *appender) Commit() error {
	res, err := a.d.telemetry.Append(a.ctx, store.SampleBatch{Tenant: a.d.tenant, Agent: store.PushedBy("test"), Samples: a.samples, AnyValue: true})
	if err == nil && res.Stored != len(a.samples) {
		err = errors.New(res.InvalidReason)
	}
	return err
}

func (a *appender) Rollback() error                   { return nil }
func (a *appender) SetOptions(*storage.AppendOptions) {}
func (a *appender) AppendExemplar(storage.SeriesRef, labels.Labels, exemplar.Exemplar) (storage.SeriesRef, error) {
	return 0, errNotStored
}
func (a *appender) AppendHistogram(storage.SeriesRef, labels.Labels, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, nil
}
func (a *appender) AppendHistogramCTZeroSample(storage.SeriesRef, labels.Labels, int64, int64, *histogram.Histogram, *histogram.FloatHistogram) (storage.SeriesRef, error) {
	return 0, errNotStored
}
func (a *appender) UpdateMetadata(storage.SeriesRef, labels.Labels, metadata.Metadata) (storage.SeriesRef, error) {
	return 0, nil
}
func (a *appender) AppendCTZeroSample(storage.SeriesRef, labels.Labels, int64, int64) (storage.SeriesRef, error) {
	return 0, nil
}
