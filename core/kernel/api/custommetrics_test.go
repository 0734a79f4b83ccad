package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

func TestCustomMetrics(t *testing.T) {
	w := newWorld(t)
	do := func(code int, method, path, body string, say ...string) {
		t.Helper()
		out := w.request(auth.RoleIT, method, customMetricsPath+path, body)
		if out.Code != code {
			t.Fatalf("%s %s %s: %d %s", method, path, body, out.Code, out.Body)
		}
		contains(t, path, out.Body.String(), say, nil)
	}
	do(201, "POST", "", `{"name":"shop.queue","type":"gauge","unit":"By","description":"What waits.","labels":["shop"],"aggregation":"max"}`, `"aggregation":"max"`, `"created_by":"token:test IT"`)
	do(201, "POST", "", `{"name":"shop_orders","type":"counter","labels":["shop"]}`, `"aggregation":"sum"`)
	do(201, "POST", "", `{"name":"shop_wait_seconds","type":"histogram","description":"How long they wait.","buckets":[1,2.5]}`, `"buckets":[1,2.5]`)
	do(409, "POST", "", `{"name":"shop_orders","type":"gauge"}`)
	for _, wrong := range []string{`{"name":"1x","type":"gauge"}`, `{"name":"x","type":"text"}`, `{"name":"x","type":"gauge","buckets":[1]}`, `{"name":"x","type":"histogram","buckets":[2,1]}`,
		`{"name":"x","type":"histogram","labels":["le"]}`, `{"name":"x","type":"gauge","labels":["a","a"]}`, `{"name":"x","type":"gauge","labels":["__x"]}`, `{"name":"x","type":"histogram","aggregation":"max"}`} {
		do(422, "POST", "", wrong)
	}
	do(200, "GET", "", "", `"shop.queue"`, `"shop_orders"`, `"shop_wait_seconds"`)

	do(200, "POST", "/shop.queue/values", `{"values":[{"value":3,"labels":{"shop":"a"}},{"value":7,"labels":{"shop":"b"}}]}`, `"accepted":2`)
	do(200, "GET", "/shop.queue", "", `"series":2`, `"value":7`)
	for range 2 {
		do(200, "POST", "/shop_orders/values", `{"values":[{"value":2,"labels":{"shop":"a"}},{"value":1,"labels":{"shop":"a"}},{"value":4,"labels":{"shop":"b"}}]}`, `"accepted":3`)
	}
	do(200, "GET", "/shop_orders", "", `"series":2`, `"value":14`)
	do(200, "POST", "/shop_wait_seconds/values", `{"values":[{"value":0.5},{"value":1},{"value":2},{"value":9}]}`, `"accepted":4`)
	do(200, "GET", "/shop_wait_seconds", "", `"series":1`, `"value":3.125`)
	do(422, "POST", "/shop_orders/values", `{"values":[{"value":-1}]}`, "a counter only grows")
	do(422, "POST", "/shop_orders/values", `{"values":[{"value":1,"labels":{"other":"x"}}]}`, `shop_orders has no label \"other\"; it may have shop`, "body.values[0]")
	do(404, "POST", "/nothing/values", `{"values":[{"value":1}]}`)

	for query, want := range map[string]string{
		`shop_queue_bytes{shop="b"}`:                        "map[__name__:shop_queue_bytes shop:b] 7\n",
		`shop_orders_total{shop="a"}`:                       "map[__name__:shop_orders_total shop:a] 6\n",
		`shop_wait_seconds_bucket{le="1"}`:                  "map[__name__:shop_wait_seconds_bucket le:1] 2\n",
		`shop_wait_seconds_bucket{le="2.5"}`:                "map[__name__:shop_wait_seconds_bucket le:2.5] 3\n",
		`shop_wait_seconds_bucket{le="+Inf"}`:               "map[__name__:shop_wait_seconds_bucket le:+Inf] 4\n",
		`shop_wait_seconds_sum`:                             "map[__name__:shop_wait_seconds_sum] 12.5\n",
		`histogram_quantile(0.5, shop_wait_seconds_bucket)`: "map[] 1\n",
	} {
		if got := w.ask(query); got != want {
			t.Errorf("%s: %q", query, got)
		}
	}
	export := w.request(auth.RoleSUP, "GET", "/api/v1/export/prometheus", "").Body.String()
	contains(t, "the export", export, []string{"# HELP shop_queue_bytes What waits.\n# TYPE shop_queue_bytes gauge\n", "# TYPE shop_orders_total counter\n",
		"# HELP shop_wait_seconds How long they wait.\n# TYPE shop_wait_seconds histogram\n"}, nil)

	// Growth of a time that was told already is not added twice.
	at := time.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	told := fmt.Sprintf(`{"values":[{"value":1,"labels":{"shop":"c"},"time":"%s"}]}`, at)
	do(200, "POST", "/shop_orders/values", told, `"accepted":1`)
	do(200, "POST", "/shop_orders/values", told, `"accepted":0`, `"refused":1`, "told already")

	do(204, "DELETE", "/shop_orders", "")
	do(404, "DELETE", "/shop_orders", "")
	do(404, "POST", "/shop_orders/values", `{"values":[{"value":1}]}`)
	contains(t, "the audit log", w.audited(), []string{"metric.define metric:shop_orders ok", "metric.delete metric:shop_orders ok", "metric.define metric:shop_orders refused"}, nil)

	_, err := w.cfg.Telemetry.Append(t.Context(), store.SampleBatch{Tenant: store.DefaultTenant, Agent: "agent", Samples: []sdk.Sample{{Metric: "measured", Type: sdk.Gauge, Time: time.Now()}}})
	check(t, err)
	do(409, "POST", "", `{"name":"measured","type":"gauge"}`, "others measure something under this name")
}

func TestCustomMetricsOfATenantAreBoundedAndItsOwn(t *testing.T) {
	w := newWorld(t)
	_, err := w.control.DefineMetric(t.Context(), store.CustomMetric{Tenant: "other", Name: "theirs", Type: "gauge"})
	check(t, err)
	for _, method := range []string{"GET", "DELETE"} {
		if out := w.request(auth.RoleADM, method, customMetricsPath+"/theirs", ""); out.Code != 404 {
			t.Errorf("%s: %d %s", method, out.Code, out.Body)
		}
	}
	if out := w.request(auth.RoleADM, "POST", customMetricsPath+"/theirs/values", `{"values":[{"value":1}]}`); out.Code != 404 {
		t.Errorf("values: %d %s", out.Code, out.Body)
	}
	for i := range 500 {
		_, err := w.control.DefineMetric(t.Context(), store.CustomMetric{Tenant: store.DefaultTenant, Name: fmt.Sprint("m", i), Type: "gauge"})
		check(t, err)
	}
	if out := w.request(auth.RoleADM, "POST", customMetricsPath, `{"name":"more","type":"gauge"}`); out.Code != 422 || !strings.Contains(out.Body.String(), "delete one first") {
		t.Errorf("one more: %d %s", out.Code, out.Body)
	}
}
