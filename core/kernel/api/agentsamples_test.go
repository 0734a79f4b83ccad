package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/sdk"
)

func TestPackedSamplesOfAnAgent(t *testing.T) {
	w := newWorld(t)
	a, b := w.enrol("box"), w.enrol("other")
	list := func(values ...float64) (out []sdk.Sample) {
		for i, v := range values {
			out = append(out, sdk.Sample{Metric: "test.load", Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"n": fmt.Sprint(i)}, Time: time.Now().UTC(), Value: v})
		}
		return out
	}
	pack := func(m *samplebatch.Message) string {
		t.Helper()
		body, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	book := samplebatch.NewWriter()
	first := book.Message("e1", 1, list(0.5, 0.7))
	for range 2 { // the answer got lost and the agent sends again: nothing doubles
		out := a.call("POST", packedPath, pack(first))
		if out.Code != 200 || w.stored() != 2 {
			t.Fatalf("%d %s, %d stored", out.Code, out.Body, w.stored())
		}
		contains(t, "the answer", out.Body.String(), []string{`"accepted":2`, `"stored_through":1`}, nil)
	}
	// The same batch as JSON is the same batch.
	if out := a.call("POST", "/api/v1/metrics", samples(1, 0.5, 0.7)); out.Code != 200 || w.stored() != 2 {
		t.Errorf("%d %s, %d stored", out.Code, out.Body, w.stored())
	}
	book.Told(first)
	second := book.Message("e1", 2, list(1, 2, 3))
	if len(second.Series) != 1 {
		t.Fatalf("%d series are described again", len(second.Series))
	}
	if out := b.call("POST", packedPath, pack(second)); out.Code != 409 {
		t.Errorf("another agent's numbers were understood: %d %s", out.Code, out.Body)
	}
	if out := a.call("POST", packedPath, pack(second)); out.Code != 200 {
		t.Errorf("%d %s", out.Code, out.Body)
	}
	var names struct{ Items []metricBody }
	w.get("/api/v1/metrics/names", &names)
	if len(names.Items) != 1 || names.Items[0].Series != 3 {
		t.Errorf("%+v", names.Items)
	}

	bad := book.Message("e1", 3, list(1))
	bad.Series = append(bad.Series, samplebatch.Series{Metric: "no\x00name", Type: sdk.Gauge})
	bad.Rows = append(bad.Rows, samplebatch.Row{Series: bad.Known + len(bad.Series) - 1, Micros: bad.Rows[0].Micros, Value: 1})
	out := a.call("POST", packedPath, pack(bad))
	contains(t, "of a name that cannot be stored", out.Body.String(), []string{`"accepted":1`, `"refused":1`}, nil)

	for name, c := range map[string]struct {
		body string
		code int
	}{
		"no frame":       {"hello", 422},
		"no epoch":       {pack(&samplebatch.Message{Seq: 1}), 422},
		"not in a book":  {pack(&samplebatch.Message{Epoch: "e", Seq: 1, Rows: []samplebatch.Row{{Series: 5, Micros: 1}}}), 422},
		"a bomb":         {string(bomb(t)), 422},
		"a book of none": {pack(&samplebatch.Message{Seq: 9, Book: 5, Known: 3}), 409},
	} {
		if out := a.call("POST", packedPath, c.body); out.Code != c.code {
			t.Errorf("%s: %d %s", name, out.Code, out.Body)
		}
	}
}

func bomb(t *testing.T) []byte {
	t.Helper()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(make([]byte, 64<<20), nil)
}
