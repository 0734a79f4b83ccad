package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// counted is a protocol of messages that begin with m and a digit, their length behind it.
func counted(read func(msg string, cut int) app.Next, reset func(app.Dir)) app.Protocol {
	size := func(b []byte) int {
		switch {
		case b[0] != 'm':
			return -1
		case len(b) < 2:
			return 0
		}
		return 2 + int(b[1]-'0')
	}
	return app.Protocol{Name: "counted", NewStream: func() app.StreamParser {
		p := app.NewFramed(size, 6)
		p.Reset = reset
		p.Read = func(_ *app.Flow, _ app.Dir, msg []byte, cut int) app.Next { return read(string(msg), cut) }
		return p
	}}
}

func TestFramed(t *testing.T) {
	for _, size := range []int{1, 3, 100} {
		var have []string
		resets := 0
		p := counted(func(msg string, cut int) app.Next {
			have = append(have, msg+strings.Repeat(".", cut))
			if msg == "m1!" {
				return app.Done
			}
			return app.Continue
		}, func(app.Dir) { resets++ })
		next := apptest.Stream(p, size, func(*app.Fact) {},
			apptest.Client("m1am2bcm0"), apptest.Server("m6abcdefm1x"), apptest.Client("m5ab"), apptest.Said{Text: "m1y", Missing: 3},
			apptest.Server("no such"), apptest.Server("m1z"), apptest.Client("m1!m1a"))
		want := []string{"m1a", "m2bc", "m0", "m6abcd..", "m1x", "m1y", "m1z", "m1!"}
		if !slices.Equal(have, want) || next != app.Done || resets < 4 {
			t.Errorf("pieces of %d: %q %d %d", size, have, next, resets)
		}
	}
}

func TestFramedGivesUp(t *testing.T) {
	p := counted(func(string, int) app.Next { return app.Continue }, nil)
	if next := apptest.Stream(p, 1, func(*app.Fact) {}, apptest.Client(strings.Repeat("x", 32))); next != app.Continue {
		t.Errorf("gave up early: %d", next)
	}
	if next := apptest.Stream(p, 1, func(*app.Fact) {}, apptest.Client(strings.Repeat("x", 33))); next != app.Done {
		t.Errorf("did not give up: %d", next)
	}
}
