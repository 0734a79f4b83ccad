package prometheus

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/prometheus") }

const plain = `# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="get",code="200"} 1027 1395066363000
http_requests_total{method="post",code="200"} 3
# TYPE node_memory_MemFree_bytes gauge
node_memory_MemFree_bytes 1.5e+09
no_type{empty=""} -1
# TYPE rpc histogram
rpc_bucket{le="0.1"} 2
rpc_bucket{le="+Inf"} 3
rpc_sum 0.5
rpc_count 3
# TYPE lag summary
lag{quantile="0.5"} 0.1
lag_sum 7
lag_count 70
job:rate5m 1
not_a_number NaN
endless +Inf
`

const open = `# TYPE http_requests counter
# UNIT jobs_seconds seconds
http_requests_total{code="200"} 7 # {trace_id="x"} 1
http_requests_created{code="200"} 1.6e+09
# TYPE temperature gauge
temperature 20.5
# EOF
`

func TestConformance(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, nil, plain)
	sdktest.Run(t, Plugin(), sdktest.Options{Config: []byte(plugintest.JSON(t, map[string]any{"targets": []string{s.URL}}))})
}

func collect(t *testing.T, config map[string]any) (plugintest.Readings, error) {
	t.Helper()
	c := New()
	plugintest.Start(t, c, plugintest.JSON(t, config))
	var got plugintest.Readings
	err := c.Collect(t.Context(), sdk.CollectRequest{}, &got)
	return got, err
}

// counted returns the metrics of the counters.
func counted(r plugintest.Readings) map[string]bool {
	out := map[string]bool{}
	for _, s := range r {
		if s.Type == sdk.Counter {
			out[s.Metric] = true
		}
	}
	return out
}

func withoutTime(r plugintest.Readings) plugintest.Readings {
	var out plugintest.Readings
	for _, s := range r {
		if s.Metric != "scrape_duration_seconds" {
			out = append(out, s)
		}
	}
	return out
}

func TestTextFormat(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, map[string]string{"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}, plain)
	got, err := collect(t, map[string]any{"targets": []string{s.URL}, "job": "web", "authorization": "Bearer x"})
	if err != nil {
		t.Fatal(err)
	}
	withoutTime(got).Want(t, map[string]float64{
		"http_requests_total code=200 method=get": 1027, "http_requests_total code=200 method=post": 3,
		"node_memory_MemFree_bytes": 1.5e9, "no_type": -1,
		"rpc_bucket le=0.1": 2, "rpc_bucket le=+Inf": 3, "rpc_sum": 0.5, "rpc_count": 3,
		"lag quantile=0.5": 0.1, "lag_sum": 7, "lag_count": 70,
		"up": 1, "scrape_samples_scraped": 14, "scrape_samples_dropped reason=limit": 0, "scrape_samples_dropped reason=unfit": 3,
	}, "service.name=web", "service.instance.id="+strings.TrimPrefix(s.URL, "http://"))
	want := map[string]bool{"http_requests_total": true, "rpc_bucket": true, "rpc_sum": true, "rpc_count": true, "lag_sum": true, "lag_count": true}
	if c := counted(got); fmt.Sprint(c) != fmt.Sprint(want) {
		t.Errorf("counters are %v, want %v", c, want)
	}
	asked := s.Last(t)
	if asked.Header.Get("Authorization") != "Bearer x" || !strings.HasPrefix(asked.Header.Get("Accept"), "application/openmetrics-text") {
		t.Errorf("asked with %v", asked.Header)
	}
}

func TestOpenMetrics(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, map[string]string{"Content-Type": "application/openmetrics-text; version=1.0.0; charset=utf-8"}, open)
	got, err := collect(t, map[string]any{"targets": []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Value("http_requests_total code=200") != 7 || got.Value("temperature") != 20.5 || got.Value("up") != 1 || !counted(got)["http_requests_total"] {
		t.Errorf("%v", got)
	}
}

func TestChoiceAndLimit(t *testing.T) {
	s := plugintest.NewService(t, http.StatusOK, nil, plain)
	got, err := collect(t, map[string]any{"targets": []string{s.URL, s.URL + "/b"}, "include": []string{"rpc_*", "lag*"}, "exclude": []string{"*_sum"}, "max_series": 7})
	if err != nil {
		t.Fatal(err)
	}
	dropped, kept := 0.0, 0
	for _, s := range got {
		switch {
		case s.Metric == "scrape_samples_dropped" && s.Labels["reason"] == "limit":
			dropped += s.Value
		case strings.HasPrefix(s.Metric, "rpc_") || strings.HasPrefix(s.Metric, "lag"):
			kept++
		}
	}
	if kept != 7 || dropped != 3 {
		t.Errorf("%d kept, %v dropped", kept, dropped)
	}
}

func TestPagesThatAreNone(t *testing.T) {
	for what, s := range map[string]*plugintest.Service{
		"not metrics":          plugintest.NewService(t, http.StatusOK, map[string]string{"Content-Type": "text/html"}, "<html>"),
		"broken off":           plugintest.NewService(t, http.StatusOK, nil, plain+"half{a=\""),
		"OpenMetrics, no end":  plugintest.NewService(t, http.StatusOK, map[string]string{"Content-Type": "application/openmetrics-text"}, "temperature 1\n"),
		"an error of a server": plugintest.NewService(t, http.StatusInternalServerError, nil, plain),
	} {
		got, err := collect(t, map[string]any{"targets": []string{s.URL}, "job": "j"})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		got.Want(t, map[string]float64{"up": 0}, "service.name=j", "service.instance.id="+strings.TrimPrefix(s.URL, "http://"))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"targets": []}`, `{"targets": ["node:9100"]}`, `{"targets": ["http://u:p@a/"]}`, `{"targets": ["http://a/", "http://a/"]}`, `{"targets": ["http://a/"], "ca_certificates": "x"}`,
	} {
		if err := plugintest.Decode(New(), text); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A real exporter: each of its series that can be stored is there, with the value that its page says.
func TestARealExporter(t *testing.T) {
	program, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		t.Skip("needs prometheus-node-exporter (Debian package of that name)")
	}
	address := fmt.Sprintf("127.0.0.1:%d", plugintest.FreePort(t))
	cmd := exec.CommandContext(t.Context(), program, "--web.listen-address="+address, "--collector.disable-defaults", "--collector.cpu", "--collector.meminfo", "--collector.filesystem", "--collector.uname")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	plugintest.Await(t, address)
	got, err := collect(t, map[string]any{"targets": []string{"http://" + address + "/metrics"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Get("http://" + address + "/metrics") //nolint:noctx // a test
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for in := bufio.NewScanner(strings.NewReader(string(text))); in.Scan(); {
		line := in.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		lines++
		name, value, _ := strings.Cut(line, " ")
		if want, err := strconv.ParseFloat(value, 64); err == nil && name == "node_memory_MemTotal_bytes" && got.Value(name) != want {
			t.Errorf("%s is %v, its page says %v", name, got.Value(name), want)
		}
	}
	if n := got.Value("scrape_samples_scraped"); math.Abs(n-float64(lines)) > 3 || got.Value("up") != 1 { // some appear with the first request
		t.Errorf("%v values of %d lines", n, lines)
	}
	if !counted(got)["node_cpu_seconds_total"] || math.IsNaN(got.Value("node_uname_info")) {
		t.Error("the processors or the name of the machine are missing")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(plain), false)
	f.Add([]byte(open), true)
	f.Fuzz(func(t *testing.T, b []byte, openMetrics bool) {
		kind := "text/plain"
		if openMetrics {
			kind = "application/openmetrics-text"
		}
		p, _ := read(b, kind, func(string) bool { return true }, maxHeld, &held{})
		for _, s := range p.series {
			if !storable(s.metric) || math.IsNaN(s.value) || len(s.labels)%2 != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Pages are bounded each and all together; what is left out is counted, and what cannot be stored takes no room.
func TestHeldTogether(t *testing.T) {
	all := func(string) bool { return true }
	var body strings.Builder
	for i := range 100 {
		fmt.Fprintf(&body, "a%d 1\nb%d NaN\n", i, i)
	}
	var together held
	together.series.Store(maxHeld - 70)
	if _, err := read([]byte(body.String()+"{"), "text/plain", all, 60, &together); err == nil || together.series.Load() != maxHeld-70 {
		t.Errorf("half a page: %v, %d held", err, together.series.Load())
	}
	for _, want := range []struct{ series, over int }{{60, 81}, {10, 181}, {0, 200}} {
		p, err := read([]byte(body.String()), "text/plain", all, 60, &together)
		if err != nil || len(p.series) != want.series || p.over != want.over || p.unfit+p.over+len(p.series) != p.lines {
			t.Errorf("%d series, %d over, %d unfit: %v; want %+v", len(p.series), p.over, p.unfit, err, want)
		}
	}
}
