package promql

import (
	"errors"
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
	for name, expr := range map[string]string{"deep": strings.Repeat("(", 1000) + "1" + strings.Repeat(")", 1000), "long": "1" + strings.Repeat(" + 1", maxExpr/4)} {
		var refused *Error
		if _, err := e.Query(t.Context(), "default", expr, time.Now(), Options{}); !errors.As(err, &refused) || refused.Kind != BadData {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := e.Format(expr); !errors.As(err, &refused) || refused.Kind != BadData {
			t.Errorf("%s, formatted: %v", name, err)
		}
	}
	if _, err := e.Format(strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100)); err != nil {
		t.Error(err)
	}
}
