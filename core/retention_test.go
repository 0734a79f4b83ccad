package core

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// What is past its retention goes when the clock says so, is counted and written down; changes last over a restart.
func TestRetention(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	var ahead atomic.Int64
	began := time.Now()
	r := start(t, Config{Settings: settings(dir), Programs: programs(t, nil), Now: func() time.Time { return began.Add(time.Duration(ahead.Load())) }})
	token, _, err := r.auth.CreateToken(t.Context(), "t", "ADM", "test", 0)
	check(t, err)
	_, err = r.telemetry.Append(t.Context(), store.SampleBatch{Tenant: "default", Agent: "a", Epoch: "e", Seq: 1,
		Samples: []sdk.Sample{{Metric: "m", Unit: "1", Type: sdk.Gauge, Time: began, Value: 42}}})
	check(t, err)
	cleanup := func() string {
		t.Helper()
		code, text := r.call(http.MethodPost, "/api/v1/admin/retention/cleanup", token, "")
		if code != http.StatusOK {
			t.Fatalf("cleanup: %d %s", code, text)
		}
		return text
	}
	if text := cleanup(); strings.Contains(text, "samples") {
		t.Errorf("something goes at once: %s", text)
	}
	for body, want := range map[string]int{`{"days":{"samples":3,"alerts":10}}`: 200, `{"days":{"nonsense":3}}`: 422, `{"days":{"audit":-1}}`: 422} {
		if code, text := r.call(http.MethodPut, "/api/v1/admin/retention", token, body); code != want {
			t.Errorf("%s: %d %s, want %d", body, code, text, want)
		}
	}
	_, text := r.call(http.MethodGet, "/api/v1/admin/retention", token, "")
	if !strings.Contains(text, `{"kind":"samples","days":3,"default":30}`) {
		t.Errorf("got %s", text)
	}
	ahead.Store(int64(5 * 24 * time.Hour))
	if text := cleanup(); !strings.Contains(text, `"samples":1`) {
		t.Errorf("after five days: %s", text)
	}
	check(t, r.stop())
	again := start(t, Config{Settings: settings(dir), Programs: programs(t, nil)})
	for _, k := range again.keep.List() {
		if k.Kind == store.KeepAlerts && k.Days != 10 {
			t.Errorf("after a restart: %+v", k)
		}
	}
}
