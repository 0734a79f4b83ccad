package pluginhost

import (
	"strings"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	line := "4242 (odd ) name (x) R 1 4242 4242 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 8 0 12345 1000000 300 18446744073709551615 0 0"
	got, err := parseStat([]byte(line), 4096)
	if err != nil || got.cpu != 3*time.Second || got.memory != 300*4096 {
		t.Fatalf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "4242 (x", "4242 (x) R 1 2", strings.Replace(line, " 250 ", " x ", 1)} {
		if _, err := parseStat([]byte(bad), 4096); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (a) R 1 1 1 0 -1 0 0 0 0 0 1 1 0 0 20 0 1 0 1 1 1 1 1"))
	f.Fuzz(func(_ *testing.T, stat []byte) { _, _ = parseStat(stat, 4096) })
}
