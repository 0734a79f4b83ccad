package promql

import (
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
