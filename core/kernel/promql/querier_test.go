package promql

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// A pause before the newest sample does not make the rest of a series look short: so much would be read at once.
func TestAPauseDoesNotGrowABlock(t *testing.T) {
	s := &selection{to: (30 * 24 * time.Hour).Milliseconds()}
	for range 10 {
		s.list = append(s.list, found{from: []store.KnownSeries{{Gap: 24 * time.Hour}}})
	}
	if s.cut(); len(s.ends) < 3 {
		t.Errorf("1.7 million samples in %d blocks", len(s.ends))
	}
}

// What the parser would work on for minutes is refused before it sees it.
func TestExpressionsAreBounded(t *testing.T) {
	e := New(Config{})
	for name, expr := range map[string]string{"deep": strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), "long": "1" + strings.Repeat(" + 1", maxExpr/4),
		"a chain": strings.Repeat("1+", 20_000) + "1", "a chain behind a comment": "# don't\n" + strings.Repeat("1^", 20_000) + "1"} {
		var refused *Error
		if _, err := e.Query(t.Context(), "default", expr, time.Now(), Options{}); !errors.As(err, &refused) || refused.Kind != BadData {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := e.Format(expr); !errors.As(err, &refused) || refused.Kind != BadData {
			t.Errorf("%s, formatted: %v", name, err)
		}
	}
	for name, expr := range map[string]string{"brackets": strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100),
		"a long pattern": `a{b=~"x\"` + strings.Repeat("(web-1|db+)", 4000) + `"}`} {
		if _, err := e.Format(expr); err != nil {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// everySample leaves nothing out of what is read.
type everySample struct{ Samples }

func (s everySample) RawSamples(ctx context.Context, list []store.KnownSeries, q store.RawQuery) ([][]store.RawSample, int, []error, error) {
	q.Step = 0
	return s.Samples.RawSamples(ctx, list, q)
}

// Answers are the same when of the samples between two steps only the last is read.
func TestTheNewestAtEachStepIsEnough(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same questions each time
	telemetry := openTelemetry(t, 2026)
	writeOurs(t, telemetry, makeData(random))
	some, all := New(Config{Samples: telemetry}), New(Config{Samples: everySample{telemetry}})
	g := &generator{Rand: random}
	answered := 0
	for i := range 150 {
		expr := g.vector(2)
		start, end, step := g.when()
		got, gotErr := ask(t, some, expr, start, end, step)
		want, wantErr := ask(t, all, expr, start, end, step)
		if why := differ(got, gotErr, want, wantErr); why != "" {
			t.Fatalf("query %d: %s from %d to %d step %d: %s", i, expr, start, end, step, why)
		}
		if len(want) > 0 {
			answered++
		}
	}
	if answered < 50 {
		t.Errorf("only %d queries had an answer: they show little", answered)
	}
}

// Answers that nobody fetches do not pile up: as much as one query may hold waits, and no more.
func TestAnswersThatAreNotFetchedHoldOthersUp(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7)) //nolint:gosec // the same samples each time
	telemetry := openTelemetry(t, 2026)
	writeOurs(t, telemetry, makeData(random))
	e := New(Config{Samples: telemetry, MaxSamples: 1500})
	query := func() (*Answer, error) {
		return e.QueryRange(t.Context(), "t", `level`, dataStart, dataStart.Add(dataSpan), time.Minute, Options{Timeout: 2 * time.Second})
	}
	first, err := query() // 6 series of 181 points
	if err != nil {
		t.Fatal(err)
	}
	var refused *Error
	if _, err := query(); !errors.As(err, &refused) || refused.Kind != Timeout {
		t.Errorf("the second: %v", err)
	}
	first.Close()
	first.Close()
	second, err := query()
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
}
