package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/resource"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// scoped makes a token of one scope.
func (w *world) scoped(scope string) string {
	w.t.Helper()
	out := w.request(auth.RoleADM, "POST", "/api/v1/tokens", fmt.Sprintf(`{"name":"%s","role":"IT","scopes":["%s"]}`, scope, scope))
	var made struct{ Token string }
	check(w.t, json.Unmarshal(out.Body.Bytes(), &made))
	return made.Token
}

// ask returns the lines of an instant query.
func (w *world) ask(query string) string {
	w.t.Helper()
	var out struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any
			}
		}
	}
	w.get(prometheusPath+"/query?query="+url.QueryEscape(query), &out)
	var b strings.Builder
	for _, r := range out.Data.Result {
		fmt.Fprintln(&b, r.Metric, r.Value[1])
	}
	return b.String()
}

func (w *world) pushBody(token, path, kind string, body []byte, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Authorization", token)
	r.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return w.send(r)
}

// writeOf is a remote write of one sample of each of some series.
func writeOf(at time.Time, value float64, names ...string) []byte {
	var body []byte
	field := func(b []byte, num protowire.Number, v []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
	}
	for _, name := range names {
		label := field(field(nil, 1, []byte("__name__")), 2, []byte(name))
		point := protowire.AppendFixed64(protowire.AppendTag(nil, 1, protowire.Fixed64Type), math.Float64bits(value))
		point = protowire.AppendVarint(protowire.AppendTag(point, 2, protowire.VarintType), uint64(at.UnixMilli()))
		body = field(body, 1, field(field(nil, 1, label), 2, point))
	}
	return snappy.Encode(nil, body)
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(text))
	check(t, err)
	check(t, z.Close())
	return b.Bytes()
}

const protobuf = "application/x-protobuf"

func TestPushes(t *testing.T) {
	w := newWorld(t)
	token, now := w.scoped("metrics:write"), time.Now()
	bearer, basic := "Bearer "+token, "Basic "+basicOf("anybody", token)
	for name, c := range map[string]struct {
		out         *httptest.ResponseRecorder
		code        int
		say         string
		query, want string
	}{
		"json": {w.pushBody(bearer, pushJSONPath, "application/json", []byte(`{"samples":[{"metric":"room.temperature","unit":"Cel","labels":{"room":"a"},"value":21.5,"help":"Warm."},{"metric":"x"}]}`)),
			200, `{"accepted":1,"refused":1,"errors":["samples[1].value: is missing"]}`, "room_temperature_celsius", "map[__name__:room_temperature_celsius room:a] 21.5\n"},
		"json, nothing right": {w.pushBody(bearer, pushJSONPath, "application/json", []byte(`{"samples":[{"metric":"x"}]}`)), 422, "is missing", "x", ""},
		"influx": {w.pushBody("Token "+token, pushInflux2Path+"?bucket=b&precision=s", "text/plain", packed(t, fmt.Sprintf("cpu,host=h idle=9,who=\"x\" %d\n", now.Unix())), "Content-Encoding", "gzip"),
			204, "", "cpu_idle", "map[__name__:cpu_idle bucket:b host:h] 9\n"},
		"influx, a line wrong": {w.pushBody(basic, pushInfluxPath+"?db=d", "text/plain", []byte("mem used=1\nmem used=\n")),
			400, "partial write: 1 samples were refused and 1 stored: line 2: a field without a value", "mem_used", "map[__name__:mem_used db:d] 1\n"},
		"remote write": {w.pushBody(bearer, pushRemotePath, protobuf, writeOf(now, 1, "up", "x_total"), "Content-Encoding", "snappy"),
			204, "", "x_total", "map[__name__:x_total] 1\n"},
		"remote write, too new": {w.pushBody(bearer, pushRemotePath, protobuf, writeOf(now.Add(time.Hour), 1, "later"), "Content-Encoding", "snappy"),
			400, "1 samples were refused and 0 stored: 1 are of a time that is yet to come", "later", ""},
		"remote write, too old": {w.pushBody(bearer, pushRemotePath, protobuf, writeOf(time.Unix(1, 0), 1, "earlier"), "Content-Encoding", "snappy"),
			400, "older than samples are kept", "earlier", ""},
		"remote write 2": {w.pushBody(bearer, pushRemotePath, protobuf+";proto=io.prometheus.write.v2.Request", nil, "Content-Encoding", "snappy"), 415, "remote write 1.0", "y", ""},
		"otlp as json": {w.pushBody(bearer, pushOTLPPath, "application/json", fmt.Appendf(nil, `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"%d","asInt":"7"}]}},
			{"name":"e","exponentialHistogram":{"dataPoints":[{}]}}]}]}]}`, now.UnixNano())),
			200, `{"partialSuccess":{"errorMessage":"1 samples were refused and 1 stored: \"e\" is an exponential histogram`, "g", "map[__name__:g] 7\n"},
		"no snappy":             {w.pushBody(bearer, pushRemotePath, protobuf, []byte("\xff\xff\xff\xff\xff"), "Content-Encoding", "snappy"), 400, "not packed with snappy", "y", ""},
		"no gzip":               {w.pushBody(bearer, pushInfluxPath, "", []byte("x"), "Content-Encoding", "gzip"), 400, "not packed with gzip", "y", ""},
		"half of gzip":          {w.pushBody(bearer, pushInfluxPath, "", packed(t, strings.Repeat("cut v=1\n", 9))[:30], "Content-Encoding", "gzip"), 400, "not packed with gzip", "cut", ""},
		"no protobuf":           {w.pushBody(bearer, pushOTLPPath, protobuf, []byte("hello, world")), 400, "", "y", ""},
		"another packing":       {w.pushBody(bearer, pushOTLPPath, protobuf, nil, "Content-Encoding", "br"), 415, "gzip or identity", "y", ""},
		"another scope":         {w.pushBody("Bearer "+w.scoped("metrics:read"), pushInfluxPath, "", []byte("no v=1")), 403, "do not hold metrics:write", "no_v", ""},
		"nobody":                {w.pushBody("", pushInfluxPath, "", []byte("no v=1")), 401, "", "no_v", ""},
		"a wrong password":      {w.pushBody("Basic "+basicOf("x", "y"), pushInfluxPath, "", []byte("no v=1")), 401, "", "no_v", ""},
		"basic, where it is no": {w.pushBody(basic, "/api/v1/tokens", "", nil), 401, "", "y", ""},
	} {
		if c.out.Code != c.code || !strings.Contains(c.out.Body.String(), c.say) {
			t.Errorf("%s: %d %s", name, c.out.Code, c.out.Body)
		}
		if got := w.ask(c.query); got != c.want {
			t.Errorf("%s: %s is %q", name, c.query, got)
		}
	}
	// The same bytes mean the same series, also the second time, and the later value counts.
	w.pushBody(bearer, pushRemotePath, protobuf, writeOf(now, 2, "up", "x_total"), "Content-Encoding", "snappy")
	if got := w.ask("x_total"); got != "map[__name__:x_total] 2\n" {
		t.Errorf("written again: %q", got)
	}
	figures := w.request(auth.RoleADM, "GET", "/metrics", "").Body.String()
	contains(t, "/metrics", figures, []string{`picket_push_samples_total{protocol="remote_write",result="stored"} 4`, `picket_push_samples_total{protocol="remote_write",result="too_new"} 1`,
		`picket_push_samples_total{protocol="influx",result="malformed"} 1`, `picket_push_samples_total{protocol="otlp",result="unsupported"} 1`, `picket_push_requests_total{protocol="json",result="partial"} 2`}, nil)
	contains(t, "metadata", w.request(auth.RoleADM, "GET", prometheusPath+"/metadata?metric=room_temperature_celsius", "").Body.String(), []string{`"help":"Warm."`, `"unit":"Cel"`}, nil)
}

func basicOf(name, password string) string {
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth(name, password)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// Two who push under the same names are two, and tenants never meet.
func TestPushesAreKeptApart(t *testing.T) {
	w := newWorld(t)
	body := writeOf(time.Now(), 1, "mine")
	w.pushBody("Bearer "+w.scoped("metrics:write"), pushRemotePath, protobuf, body, "Content-Encoding", "snappy")
	w.pushBody("Bearer "+w.tokens[auth.RoleIT], pushRemotePath, protobuf, body, "Content-Encoding", "snappy")
	senders := map[string]bool{}
	shapes, _ := w.cfg.Telemetry.Shapes(store.DefaultTenant)
	for _, m := range shapes {
		w.cfg.Telemetry.EachSeries(store.DefaultTenant, m, func(k store.KnownSeries) { senders[k.Agent] = true })
	}
	if len(senders) != 2 {
		t.Errorf("senders %v", senders)
	}
	here, there := w.refs.of("a", "s"), w.refs.of("b", "s")
	_, key := here.find([]byte("x"))
	ref, _ := w.cfg.Telemetry.Ref("a", "s", &sdk.Sample{Metric: "x", Type: "gauge"})
	here.keep(key, ref)
	if found, _ := there.find([]byte("x")); found.Known() {
		t.Error("a series of another tenant was found")
	}
	if found, _ := here.find([]byte("x")); !found.Known() {
		t.Error("a series that was kept is not found")
	}
}

func TestPushesAreBounded(t *testing.T) {
	w := newWorld(t)
	bearer := "Bearer " + w.tokens[auth.RoleIT]
	bomb := packed(t, strings.Repeat("# nothing\n", maxPushUnpacked/5))
	for name, c := range map[string]struct {
		out  *httptest.ResponseRecorder
		code int
	}{
		"a bomb of gzip":   {w.pushBody(bearer, pushInfluxPath, "", bomb, "Content-Encoding", "gzip"), 413},
		"a bomb of snappy": {w.pushBody(bearer, pushRemotePath, protobuf, protowire.AppendVarint(nil, 1<<31), "Content-Encoding", "snappy"), 413},
		"small messages": {w.pushBody(bearer, pushOTLPPath, protobuf, func() []byte {
			b := bytes.Repeat([]byte{0x0a, 0}, 200_000)
			for _, num := range []protowire.Number{5, 2, 2, 1} {
				b = protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), b)
			}
			return b
		}()), 413},
		"many samples": {w.pushBody(bearer, pushInfluxPath, "", bytes.Repeat([]byte("a b=1\n"), 100_001)), 413},
	} {
		if c.out.Code != c.code {
			t.Errorf("%s: %d %s", name, c.out.Code, c.out.Body)
		}
	}
	body := &untouchable{}
	r := httptest.NewRequest(http.MethodPost, pushInfluxPath, io.NopCloser(body))
	r.ContentLength = maxPushBody + 1
	r.Header.Set("Authorization", bearer)
	if out := w.send(r); out.Code != 413 || body.read {
		t.Errorf("a body too long: %d, read: %t", out.Code, body.read)
	}
	// When all there is is in work, who comes is told to come again, and agents still have their part.
	if !w.pushing.TryAcquire(maxPushing) {
		t.Fatal("something is still held")
	}
	for _, path := range []string{pushJSONPath, pushOTLPPath, pushRemotePath, pushInfluxPath} {
		body := &untouchable{}
		r := httptest.NewRequest(http.MethodPost, path, io.NopCloser(body))
		r.Header.Set("Authorization", bearer)
		r.Header.Set("Content-Encoding", map[bool]string{true: "snappy"}[path == pushRemotePath])
		if out := w.send(r); out.Code != 503 || out.Header().Get("Retry-After") == "" || body.read {
			t.Errorf("%s: %d %v", path, out.Code, out.Header())
		}
	}
	if !w.taken.TryAcquire(maxTaken) {
		t.Error("what was refused is held")
	}
	w.taken.Release(maxTaken)
	w.pushing.Release(maxPushing)
	w.limits.set(map[string]int{classPush: 1})
	var out *httptest.ResponseRecorder
	for range 2 {
		r := httptest.NewRequest(http.MethodPost, pushInfluxPath, strings.NewReader("a b=1"))
		r.RemoteAddr = "203.0.113.9:1"
		r.Header.Set("Authorization", bearer)
		out = w.send(r)
	}
	if out.Code != 429 || out.Header().Get("Retry-After") == "" {
		t.Errorf("too often: %d %v", out.Code, out.Header())
	}
}

// What the OpenTelemetry SDK exports, as totals and as growth.
func TestPushFromOpenTelemetrySDK(t *testing.T) {
	for name, temporality := range map[string]sdkmetric.TemporalitySelector{"totals": sdkmetric.DefaultTemporalitySelector,
		"growth": func(kind sdkmetric.InstrumentKind) metricdata.Temporality {
			if kind == sdkmetric.InstrumentKindUpDownCounter {
				return metricdata.CumulativeTemporality
			}
			return metricdata.DeltaTemporality
		}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			srv := httptest.NewServer(w)
			defer srv.Close()
			ctx := t.Context()
			exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithEndpointURL(srv.URL+pushOTLPPath), otlpmetrichttp.WithCompression(otlpmetrichttp.GzipCompression),
				otlpmetrichttp.WithHeaders(map[string]string{"Authorization": "Bearer " + w.scoped("metrics:write")}), otlpmetrichttp.WithTemporalitySelector(temporality))
			check(t, err)
			provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter, sdkmetric.WithInterval(time.Hour))),
				sdkmetric.WithResource(resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("service.namespace", "prod"),
					attribute.String("service.instance.id", "i-1"), attribute.String("host.name", "h"))))
			defer provider.Shutdown(context.WithoutCancel(ctx)) //nolint:errcheck // what it has to say was said by ForceFlush
			meter := provider.Meter("checkout", metric.WithInstrumentationVersion("2"))
			orders, err := meter.Int64Counter("shop.orders", metric.WithUnit("{order}"), metric.WithDescription("Orders that came in."))
			check(t, err)
			open, err := meter.Int64UpDownCounter("shop.carts")
			check(t, err)
			took, err := meter.Float64Histogram("shop.checkout.duration", metric.WithUnit("s"), metric.WithExplicitBucketBoundaries(0.1, 1))
			check(t, err)
			for range 2 {
				orders.Add(ctx, 3, metric.WithAttributes(attribute.String("payment.kind", "card")))
				open.Add(ctx, 2)
				took.Record(ctx, 0.5)
				check(t, provider.ForceFlush(ctx))
			}
			who := "instance:i-1 job:prod/shop otel_scope_name:checkout otel_scope_version:2"
			for query, want := range map[string]string{
				"shop_orders_total":                    "map[__name__:shop_orders_total " + who + " payment_kind:card] 6\n",
				"shop_carts":                           "map[__name__:shop_carts " + who + "] 4\n",
				`shop_checkout_duration_seconds_count`: "map[__name__:shop_checkout_duration_seconds_count " + who + "] 2\n",
				`shop_checkout_duration_seconds_bucket{le=~"0.1|1"}`: "map[__name__:shop_checkout_duration_seconds_bucket instance:i-1 job:prod/shop le:0.1 otel_scope_name:checkout otel_scope_version:2] 0\n" +
					"map[__name__:shop_checkout_duration_seconds_bucket instance:i-1 job:prod/shop le:1 otel_scope_name:checkout otel_scope_version:2] 2\n",
				"target_info": "map[__name__:target_info host_name:h instance:i-1 job:prod/shop] 1\n",
			} {
				if got := w.ask(query); !sameLines(got, want) {
					t.Errorf("%s: %q", query, got)
				}
			}
			text := w.request(auth.RoleADM, "GET", "/api/v1/export/prometheus", "").Body.String()
			contains(t, "the export", text, []string{"# HELP shop_orders_total Orders that came in.\n# TYPE shop_orders_total counter\n", "# TYPE shop_checkout_duration_seconds histogram\n"}, nil)
		})
	}
}

func sameLines(a, b string) bool {
	x, y := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	if len(x) != len(y) {
		return false
	}
	for _, line := range x {
		if !strings.Contains(b, line) {
			return false
		}
	}
	return true
}

// Debian's Prometheus scrapes a page and writes it to Picket, until the page is gone.
func TestPushFromPrometheus(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed")
	}
	w := newWorld(t)
	srv := httptest.NewServer(w)
	defer srv.Close()
	var gone atomic.Bool
	measured := prometheus.NewRegistry()
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "job_seconds", Help: "How long jobs took.", Buckets: []float64{1, 2}})
	took.Observe(1.5)
	measured.MustRegister(took)
	page := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			http.Error(out, "gone", http.StatusGone)
			return
		}
		promhttp.HandlerFor(measured, promhttp.HandlerOpts{}).ServeHTTP(out, r)
	}))
	defer page.Close()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "p.yml"), fmt.Appendf(nil, `
global: {scrape_interval: 1s}
scrape_configs: [{job_name: jobs, static_configs: [{targets: ["%s"]}]}]
remote_write:
  - url: %s%s
    authorization: {credentials: %s}
    queue_config: {batch_send_deadline: 100ms}
    metadata_config: {send_interval: 1s}
`, strings.TrimPrefix(page.URL, "http://"), srv.URL, pushRemotePath, w.scoped("metrics:write")), 0o600))
	cmd := exec.CommandContext(t.Context(), program, "--config.file", filepath.Join(dir, "p.yml"), "--storage.tsdb.path", filepath.Join(dir, "d"), "--web.listen-address", "127.0.0.1:0")
	said := &bytes.Buffer{}
	cmd.Stderr = said
	check(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	await := func(what string, done func() bool) {
		for end := time.Now().Add(90 * time.Second); !done(); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(end) {
				_ = cmd.Process.Kill()
				_ = cmd.Wait()
				t.Fatalf("%s: never came\n%s", what, said)
			}
		}
	}
	labels := "instance:" + strings.TrimPrefix(page.URL, "http://") + " job:jobs"
	await("the histogram", func() bool {
		return w.ask(`job_seconds_bucket{le="2"}`) == "map[__name__:job_seconds_bucket "+strings.Replace(labels, "job:jobs", "job:jobs le:2", 1)+"] 1\n"
	})
	await("its help", func() bool {
		return strings.Contains(w.request(auth.RoleADM, "GET", prometheusPath+"/metadata?metric=job_seconds", "").Body.String(),
			`{"type":"histogram","help":"How long jobs took.","unit":""}`)
	})
	gone.Store(true)
	await("its end", func() bool { return w.ask("job_seconds_count") == "" && strings.HasSuffix(w.ask("up"), "] 0\n") })
}
