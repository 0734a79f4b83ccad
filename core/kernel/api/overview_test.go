package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/picketwatch/picket/core/kernel/catalogue"
)

func TestALongCountRestsAndNobodyWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var x tally
		counts, takes := 0, time.Second
		var broken error
		count := func(context.Context) (catalogue.Tally, error) {
			time.Sleep(takes)
			counts++
			return catalogue.Tally{Total: counts}, broken
		}
		want := func(what string, total int, waits time.Duration) {
			t.Helper()
			began := time.Now()
			got, err := x.get(t.Context(), count)
			if err != nil || got.Total != total || time.Since(began) != waits {
				t.Errorf("%s: %+v after %s, %v", what, got, time.Since(began), err)
			}
		}
		want("first", 1, time.Second)
		want("at once again", 1, 0)
		time.Sleep(tallyRests*time.Second + 1)
		want("when it has rested", 1, 0) // and it is counted behind this
		want("meanwhile", 1, 0)
		time.Sleep(2 * time.Second)
		want("then", 2, 0)
		time.Sleep(tallyRests*time.Second + tallyStale + 1)
		want("after a long while", 3, time.Second)
		takes = time.Millisecond
		time.Sleep(tallyRests*time.Second + tallyStale + 1)
		want("of few agents", 4, time.Millisecond)
		want("of few agents at once again", 5, time.Millisecond)
		broken = errors.New("no")
		if _, err := x.get(t.Context(), count); !errors.Is(err, broken) {
			t.Error(err)
		}
	})
}
