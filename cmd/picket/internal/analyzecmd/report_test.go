package analyzecmd

import (
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/internal/traffic"
)

func TestATimeHasItsDayWhereThatIsNotClear(t *testing.T) {
	first := time.Date(2026, 11, 21, 23, 36, 46, 0, time.UTC)
	for want, at := range map[string][2]time.Time{
		"23:36:47.138 to 23:39:22.527 UTC":                       {first.Add(1138 * time.Millisecond), first.Add(156527 * time.Millisecond)},
		"2026-11-21 23:36:47.000 to 2026-11-22 00:36:46.000 UTC": {first.Add(time.Second), first.Add(time.Hour)},
		"2027-11-21 23:36:46.000 to 2027-11-21 23:36:47.000 UTC": {first.AddDate(1, 0, 0), first.AddDate(1, 0, 0).Add(time.Second)},
	} {
		if got := between(first, at[0], at[1]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestACaptureWithoutPacketsIsNotCleared(t *testing.T) {
	var out strings.Builder
	if err := (textReport{&out}).capture("empty.pcap", traffic.Summary{}, nil); err != nil || strings.Contains(out.String(), "nothing found") || !strings.Contains(out.String(), "no packet in it") {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestAHomeThatMayNotBeWrittenIsNamed(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "/dev/null")
	if _, err := stateDir("root"); err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
		t.Error(err)
	}
}
