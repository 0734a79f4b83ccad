package columns

import (
	"bytes"
	"testing"
	"time"
)

func TestTableAlignsWithoutColourOffTerminals(t *testing.T) {
	var out bytes.Buffer
	New(&out).Table([][]Cell{
		{S(Dim, "NAME"), C("N"), C("TEXT")},
		{S(Bold, "über"), S(Bad, "1"), C("short")},
		{C("longer name"), C("22"), C("a long last cell pads nobody")},
		{C("x"), C("3"), C("")},
	})
	want := "NAME         N   TEXT\n" +
		"über         1   short\n" +
		"longer name  22  a long last cell pads nobody\n" +
		"x            3\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 kB", 14 << 20: "14.0 MB"} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1500 * time.Microsecond: "2ms", 47*time.Hour + time.Minute: "47h1m0s", 50 * time.Hour: "2 days 2 hours", 304087 * time.Hour: "12670 days",
	} {
		if got := Span(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
