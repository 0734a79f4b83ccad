package api

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// measured fills the world with five minutes of two agents and of somebody who pushes, and returns the time of the newest
// sample.
func measured(t *testing.T, w *world) time.Time {
	t.Helper()
	ctx := t.Context()
	base := time.Now().Add(-time.Minute).Truncate(time.Minute)
	for _, a := range []store.Agent{{ID: "0190-a", Name: "web-1", Group: "front"}, {ID: "0190-b", Name: `db "2"`, Group: "all"}} {
		hash := []byte("enrol " + a.ID)
		check(t, w.control.CreateEnrolmentToken(ctx, store.EnrolmentToken{ID: a.ID, Tenant: store.DefaultTenant, Hash: hash, Group: a.Group, Created: base, Expires: base.Add(time.Hour)}))
		a.PublicKey, a.BearerHash = []byte(a.ID), []byte(a.ID)
		_, err := w.control.EnrolAgent(ctx, hash, a)
		check(t, err)
	}
	at := func(i int) time.Time { return base.Add(time.Duration(i-5) * time.Minute) }
	for n, agent := range []string{"0190-a", "0190-b"} {
		var samples []sdk.Sample
		for i := range 6 {
			samples = append(samples,
				sdk.Sample{Metric: "system.cpu.utilization", Unit: "1", Type: sdk.Gauge, Time: at(i), Value: 0.25 * float64(n+1)},
				sdk.Sample{Metric: "system.network.io", Unit: "By", Type: sdk.Counter, Time: at(i), Value: float64(600 * i), Labels: map[string]string{"network.interface.name": "eth0"}})
		}
		_, err := w.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: store.DefaultTenant, Agent: agent, Epoch: "e", Seq: 1, Samples: samples})
		check(t, err)
	}
	_, err := w.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: store.DefaultTenant, Agent: store.PushedBy("t1"), AnyValue: true, Samples: []sdk.Sample{
		{Metric: "up", Type: sdk.Gauge, Time: at(5), Value: math.Inf(1), Labels: map[string]string{"job": "node", "instance": "h:9100"}},
	}})
	check(t, err)
	_, err = w.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: "another", Agent: "0190-c", Epoch: "e", Seq: 1, Samples: []sdk.Sample{
		{Metric: "system.cpu.utilization", Unit: "1", Type: sdk.Gauge, Time: at(5), Value: 99, Labels: map[string]string{"secret": "of another tenant"}},
	}})
	check(t, err)
	return base
}

const (
	webLabels = `"agent_id":"0190-a","agent_name":"web-1","group":"front","instance":"web-1","job":"picket-agent"`
	dbLabels  = `"agent_id":"0190-b","agent_name":"db \"2\"","group":"all","instance":"db \"2\"","job":"picket-agent"`
)

// The requests have the shapes in which Grafana's Prometheus data source sends them; T stands for the newest sample.
func TestPrometheusAPI(t *testing.T) {
	w := newWorld(t)
	base := measured(t, w).Unix()
	for _, x := range []struct {
		name, method, path, form string
		code                     int
		want                     string
	}{
		{"save and test", "POST", "/query", "query=1%2B1&time=<T>.5", 200,
			`{"status":"success","data":{"resultType":"scalar","result":[<T>.500,"2"]}}`},
		{"which version", "GET", "/status/buildinfo", "", 200, `"version":"3.8.0"`},
		{"instant query of a table", "POST", "/query", "query=system_cpu_utilization_ratio&time=<T>", 200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"system_cpu_utilization_ratio",` + webLabels + `},"value":[<T>,"0.25"]},` +
				`{"metric":{"__name__":"system_cpu_utilization_ratio",` + dbLabels + `},"value":[<T>,"0.5"]}]}}`},
		{"range query of a graph", "POST", "/query_range", "end=<T>&query=sum+by%28agent_name%29+%28rate%28system_network_io_bytes_total%5B2m%5D%29%29&start=<T-120>&step=60", 200,
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"agent_name":"db \"2\""},"values":[[<T-120>,"10"],[<T-60>,"10"],[<T>,"10"]]},` +
				`{"metric":{"agent_name":"web-1"},"values":[[<T-120>,"10"],[<T-60>,"10"],[<T>,"10"]]}]}}`},
		{"range query by GET", "GET", "/query_range?query=system_cpu_utilization_ratio%7Bgroup%3D%22front%22%7D&start=<T-60>&end=<T>&step=1m", "", 200,
			`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"system_cpu_utilization_ratio",` + webLabels + `},"values":[[<T-60>,"0.25"],[<T>,"0.25"]]}]}}`},
		{"by the name under which it is stored", "GET", "/query?query=%7B%22system.cpu.utilization%22%2C+agent_name%3D%22web-1%22%7D&time=<T>", "", 200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"system_cpu_utilization_ratio",` + webLabels + `},"value":[<T>,"0.25"]}]}}`},
		{"what was pushed has its own labels, and infinity", "GET", "/query?query=up&time=<T>", "", 200,
			`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","instance":"h:9100","job":"node"},"value":[<T>,"+Inf"]}]}}`},
		{"a string", "GET", "/query?query=%22a%22&time=<T>", "", 200, `{"status":"success","data":{"resultType":"string","result":[<T>,"a"]}}`},
		{"variable label_values(metric, label)", "GET", "/label/agent_name/values?match%5B%5D=system_cpu_utilization_ratio&start=<T-3600>&end=<T>", "", 200,
			`{"status":"success","data":["db \"2\"","web-1"]}`},
		{"variable metrics()", "GET", "/label/__name__/values", "", 200,
			`{"status":"success","data":["system_cpu_utilization_ratio","system_network_io_bytes_total","up"]}`},
		{"names of metrics by regex", "GET", "/label/__name__/values?match%5B%5D=%7B__name__%3D~%22system_n.%2B%22%7D&limit=40000", "", 200,
			`{"status":"success","data":["system_network_io_bytes_total"]}`},
		{"a label's name, escaped", "GET", "/label/U__a_2e_b/values", "", 200, `{"status":"success","data":[]}`},
		{"variable label_names()", "GET", "/labels?start=<T-3600>&end=<T>", "", 200,
			`{"status":"success","data":["__name__","agent_id","agent_name","group","instance","job","network_interface_name"]}`},
		{"labels of a metric", "POST", "/labels", "match%5B%5D=up&start=<T-3600>&end=<T>", 200, `{"status":"success","data":["__name__","instance","job"]}`},
		{"labels, at most", "GET", "/labels?limit=1", "", 200, `{"status":"success","data":["__name__"],"warnings":["results truncated due to limit"]}`},
		{"the metric browser", "POST", "/series", "match%5B%5D=%7B__name__%3D%22up%22%7D&match%5B%5D=up&end=<T>&start=<T-3600>", 200,
			`{"status":"success","data":[{"__name__":"up","instance":"h:9100","job":"node"}]}`},
		{"series that ended before", "GET", "/series?match%5B%5D=up&start=<T+1>", "", 200, `{"status":"success","data":[]}`},
		{"metadata", "GET", "/metadata?limit=1", "", 200,
			`{"status":"success","data":{"system_cpu_utilization_ratio":[{"type":"gauge","help":"OpenTelemetry: system.cpu.utilization","unit":"1"}]}}`},
		{"metadata of one", "GET", "/metadata?metric=system_network_io_bytes_total", "", 200,
			`{"status":"success","data":{"system_network_io_bytes_total":[{"type":"counter","help":"OpenTelemetry: system.network.io","unit":"By"}]}}`},
		{"format", "POST", "/format_query", "query=sum%28up%29by%28job%29", 200, `{"status":"success","data":"sum by (job) (up)"}`},
		{"exemplars", "POST", "/query_exemplars", "end=<T>&query=up&start=<T-60>", 200, `{"status":"success","data":[]}`},
		{"rules", "GET", "/rules", "", 200, `{"status":"success","data":{"groups":[]}}`},
		{"alerts", "GET", "/alerts", "", 200, `{"status":"success","data":{"alerts":[]}}`},

		{"no expression", "GET", "/query?query=sum%28", "", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:5: parse error: unclosed left parenthesis"}`},
		{"no time", "GET", "/query?query=up&time=noon", "", 400, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"time\": cannot parse \"noon\" to a valid timestamp"}`},
		{"no match", "GET", "/series", "", 400, `{"status":"error","errorType":"bad_data","error":"no match[] parameter provided"}`},
		{"a match of everything", "GET", "/series?match%5B%5D=%7Bjob%3D~%22.*%22%7D", "", 400, `"errorType":"bad_data"`},
		{"too fine", "GET", "/query_range?query=up&start=0&end=<T>&step=1", "", 400, `"error":"exceeded maximum resolution of 11,000 points per timeseries`},
		{"backwards", "GET", "/query_range?query=up&start=<T>&end=<T-1>&step=1", "", 400, `invalid parameter \"end\"`},
		{"no step", "GET", "/query_range?query=up&start=<T-1>&end=<T>", "", 400, `invalid parameter \"step\"`},
		{"many to many", "GET", "/query?query=up+%2B+on%28%29+system_cpu_utilization_ratio&time=<T>", "", 422, `"errorType":"execution"`},
		{"no time left", "GET", "/query?query=up&time=<T>&timeout=0.000000001", "", 503, `"errorType":"timeout"`},
		{"no label", "GET", "/label/%FF/values", "", 400, `"errorType":"bad_data"`},
	} {
		t.Run(x.name, func(t *testing.T) {
			at := func(s string) string {
				for _, d := range []int64{-3600, -120, -60, -1, 0, 1} {
					s = strings.ReplaceAll(s, strings.ReplaceAll(fmt.Sprintf("<T%+d>", d), "+0", ""), fmt.Sprint(base+d))
				}
				return s
			}
			r := httptest.NewRequest(x.method, prometheusPath+at(x.path), strings.NewReader(at(x.form)))
			if x.method == http.MethodPost {
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			r.Header.Set("Authorization", "Bearer "+w.tokens[auth.RoleSUP])
			out := w.send(r)
			body, want := out.Body.String(), at(x.want)
			if out.Code != x.code || !json.Valid([]byte(body)) || out.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%d %s %s", out.Code, out.Header(), body)
			}
			if strings.HasPrefix(want, "{") && body != want || !strings.Contains(body, want) {
				t.Errorf("got  %s\nwant %s", body, want)
			}
		})
	}
}

func TestPrometheusKeepsTenantsApart(t *testing.T) {
	w := newWorld(t)
	base := measured(t, w)
	for _, path := range []string{"/query?query=%7B__name__%3D~%22.%2B%22%7D", "/labels", "/series?match%5B%5D=%7B__name__%3D~%22.%2B%22%7D",
		"/label/secret/values", "/label/agent_id/values", fmt.Sprintf("/query_range?query=%%7Bsecret%%21%%3D%%22%%22%%7D&start=%d&end=%d&step=60", base.Unix()-600, base.Unix())} {
		out := w.request(auth.RoleADM, http.MethodGet, prometheusPath+path, "")
		if out.Code != http.StatusOK || strings.Contains(out.Body.String(), "secret") || strings.Contains(out.Body.String(), "0190-c") || strings.Contains(out.Body.String(), "another") {
			t.Errorf("%s: %d %s", path, out.Code, out.Body)
		}
	}
	if out := w.request(auth.RoleADM, http.MethodGet, "/api/v1/export/prometheus", ""); strings.Contains(out.Body.String(), "secret") {
		t.Errorf("export: %s", out.Body)
	}
}

func TestPrometheusAnswersAreCompressed(t *testing.T) {
	w := newWorld(t)
	measured(t, w)
	r := httptest.NewRequest(http.MethodGet, prometheusPath+"/labels", nil)
	r.Header.Set("Authorization", "Bearer "+w.tokens[auth.RoleADM])
	r.Header.Set("Accept-Encoding", "gzip, deflate")
	out := w.send(r)
	z, err := gzip.NewReader(out.Body)
	check(t, err)
	text, err := io.ReadAll(z)
	check(t, err)
	if !strings.Contains(string(text), `"agent_id"`) || out.Header().Get("Content-Encoding") != "gzip" {
		t.Errorf("%s %s", out.Header(), text)
	}
}

func TestExportPrometheus(t *testing.T) {
	w := newWorld(t)
	measured(t, w)
	out := w.request(auth.RoleSUP, http.MethodGet, "/api/v1/export/prometheus", "")
	text := out.Body.String()
	for _, want := range []string{
		"# HELP system_cpu_utilization_ratio OpenTelemetry: system.cpu.utilization\n# TYPE system_cpu_utilization_ratio gauge\n",
		`system_cpu_utilization_ratio{agent_id="0190-b",agent_name="db \"2\"",group="all",instance="db \"2\"",job="picket-agent"} 0.5` + "\n",
		"# TYPE system_network_io_bytes_total counter\n",
		`up{instance="h:9100",job="node"} +Inf` + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %s\n%s", want, text)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed: the export was not checked by it")
	}
	cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
	cmd.Stdin = strings.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool: %v\n%s", err, said)
	}
}

// A form in the body counts as one in the address.
func TestPrometheusFormsAreBounded(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodPost, prometheusPath+"/query", strings.NewReader("query="+url.QueryEscape(strings.Repeat("a", 2<<20))))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Authorization", "Bearer "+w.tokens[auth.RoleADM])
	if out := w.send(r); out.Code != http.StatusBadRequest || !strings.Contains(out.Body.String(), "bad_data") {
		t.Errorf("%d %s", out.Code, out.Body)
	}
}
