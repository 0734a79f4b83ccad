package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/agent/spool"
	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/sdk"
)

// TestSamplesGoInTheFormThatTheServerTakes: packed, all of the book again when the server was started anew, and as JSON to one
// that knows no other way or does not understand.
func TestSamplesGoInTheFormThatTheServerTakes(t *testing.T) {
	var got []string
	var answer func(m *samplebatch.Message) int // to what is packed
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		code, seq, what := 200, uint64(0), ""
		if r.URL.Path == "/api/v1/metrics" {
			var in struct {
				Seq     uint64
				Samples []sdk.Sample
			}
			_ = json.Unmarshal(body, &in)
			seq, what = in.Seq, fmt.Sprintf("json %d", len(in.Samples))
		} else {
			m, err := samplebatch.Unpack(body)
			if err != nil {
				t.Error(err)
			}
			code, seq, what = answer(m), m.Seq, fmt.Sprintf("packed %d of %d+%d", len(m.Rows), m.Known, len(m.Series))
		}
		got = append(got, fmt.Sprintf("%d: %s", seq, what))
		if code == 200 {
			fmt.Fprintf(w, `{"stored_through":%d}`, seq)
			return
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"status":%d}`, code)
	}))
	defer web.Close()
	queue, err := spool.Open(spool.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer queue.Close()
	base, err := url.Parse(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	o := &outbox{spool: queue, log: slog.New(slog.DiscardHandler), server: &server{base: base, http: web.Client(), now: func() time.Time { return now }}}
	send := func(want ...string) {
		t.Helper()
		got = nil
		if err := o.put(kindSamples, 1, []sdk.Sample{{Metric: "m", Type: sdk.Gauge, Time: now, Value: 1}, {Metric: "n", Type: sdk.Gauge, Time: now}}); err != nil {
			t.Fatal(err)
		}
		it, err := queue.Next(t.Context())
		if err == nil {
			err = o.send(t.Context(), it)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("the server got %q, want %q", got, want)
		}
	}
	always := func(code int) func(*samplebatch.Message) int {
		return func(*samplebatch.Message) int { return code }
	}
	answer = always(200)
	send("1: packed 2 of 0+2")
	send("2: packed 2 of 2+0")
	answer = func(m *samplebatch.Message) int { // knows nothing
		if m.Known > 0 {
			return 409
		}
		return 200
	}
	send("3: packed 2 of 2+0", "3: packed 2 of 0+2")
	answer = always(422)
	send("4: packed 2 of 2+0", "4: json 2")
	answer = always(404)
	send("5: packed 2 of 2+0", "5: json 2")
	send("6: json 2")
	now = now.Add(2 * packedAgain)
	answer = always(200)
	send("7: packed 2 of 2+0")
}
