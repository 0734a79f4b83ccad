package pluginhost

import (
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/core/kernel/pluginhost/crashlog"
)

// Somebody at a debugger must not lose the process to a deadline; everybody else's plugin must.
func TestDeadlinesOfAnInstanceThatIsDebugged(t *testing.T) {
	h := &Host{cfg: Config{MostLevel: confine.LevelB}}
	for name, c := range map[string]struct {
		debug bool
		own   time.Duration
		want  time.Duration
		level confine.Level
	}{
		"as ever":              {want: 10 * time.Second, level: confine.LevelB},
		"one of its own":       {own: 2 * time.Second, want: 2 * time.Second, level: confine.LevelB},
		"debugged":             {debug: true, want: debugDeadline, level: confine.LevelC},
		"debugged, of its own": {debug: true, own: 2 * time.Second, want: debugDeadline, level: confine.LevelC},
	} {
		t.Run(name, func(t *testing.T) {
			a := Assignment{Debug: c.debug}
			r := &run{release: release{assignment: a, limits: confine.Limits{Deadline: c.own}}}
			if got := r.deadline(10 * time.Second); got != c.want {
				t.Errorf("deadline %s, want %s", got, c.want)
			}
			if got := h.mostLevel(a); got != c.level {
				t.Errorf("level %s, want %s", got, c.level)
			}
		})
	}
	if debugDeadline < 30*time.Minute {
		t.Errorf("a deadline of %s is none for a debugger", debugDeadline)
	}
	if (Assignment{Debug: true}).same(Assignment{}) {
		t.Error("a change to debugging must start the instance anew")
	}
}

func TestTheLastCallIsKeptOncePerPause(t *testing.T) {
	var l lastCall
	now := time.Unix(1000, 0)
	if l.take(now, "1") != nil {
		t.Error("a crash before any call has an input")
	}
	l.is(stepOf("Flush"))
	if s := l.take(now, "1"); s == nil || s.Call != "Flush" {
		t.Errorf("got %+v", s)
	}
	if l.take(now.Add(crashPause/2), "1") != nil {
		t.Error("a loop of crashes fills the disk")
	}
	if l.take(now.Add(crashPause/2), "2") == nil {
		t.Error("another version's crash is news")
	}
	if l.take(now.Add(2*crashPause), "2") == nil {
		t.Error("a later crash is news")
	}
}

func stepOf(call string) crashlog.Step { return crashlog.Step{Call: call} }
