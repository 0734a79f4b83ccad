package api

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// What an agent sends may be made to break whoever looks at it: numbers that JSON has no word for, texts without an end.
func TestFactsThatAreMeantToHarm(t *testing.T) {
	w := newWorld(t)
	long := strings.Repeat("ü", 1<<19)
	at := sdk.Seen{Time: time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC), Client: netip.MustParseAddr("10.0.0.1")}
	r, err := w.cfg.Flows.Record(t.Context(), store.DefaultTenant, "cap")
	check(t, err)
	check(t, r.Facts(t.Context(), sdk.FactsHTTP, records.Parcel{Frame: records.AppendFacts(nil, []sdk.HTTP{
		{Seen: at, Target: long, ResponseTime: math.NaN(), RequestHeaders: slices.Repeat([]string{"a: b"}, 10_000)},
		{Seen: at, Host: "\xff", ResponseTime: math.Inf(1)},
	})}))
	check(t, r.Close(t.Context(), true))
	out := w.request(adm, "GET", "/api/v1/facts?kind=http", "")
	var page flowFactPageBody
	if err := json.Unmarshal(out.Body.Bytes(), &page); out.Code != 200 || err != nil || len(page.Items) != 2 {
		t.Fatalf("%d %.200s: %d facts, %v", out.Code, out.Body, len(page.Items), err)
	}
	if out.Body.Len() > 3*shownBytes {
		t.Errorf("%d bytes for two facts", out.Body.Len())
	}
	fields := page.Items[0].Fields
	if text, _ := fields["target"].(string); !strings.HasPrefix(long, text) || len(text) != shownText {
		t.Errorf("a target of %d bytes", len(text))
	}
	if list, _ := fields["request_headers"].([]any); len(list) != shownItems {
		t.Errorf("%d headers", len(list))
	}
	if _, told := fields["response_time"]; told {
		t.Error("a time that is no number is told")
	}
}

func TestAllFieldsOfAFactAreBounded(t *testing.T) {
	long := strings.Repeat("x", 2*shownText)
	words := map[string]string{}
	for i := range 10 * shownItems {
		words[strings.Repeat("k", i+1)] = long
	}
	text, err := json.Marshal(shown(map[string]any{"a": slices.Repeat([]string{long}, 10*shownItems), "b": words, "c": []byte(long), "d": long, "e": 1.5,
		"f": make([]uint64, 10*shownItems), "g": uint16(7)}))
	check(t, err)
	if len(text) > 2*shownBytes || !strings.Contains(string(text), `"e":1.5`) || !strings.Contains(string(text), `"g":7`) {
		t.Errorf("%d bytes", len(text))
	}
}
