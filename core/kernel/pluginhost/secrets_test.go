//go:build linux

package pluginhost

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What a plugin says about its secrets reaches nobody: no status, no event, no caller, no log.
func TestSecretsInErrorsAreBlanked(t *testing.T) {
	log := &lockedBuffer{}
	f := newFixture(t, func(c *Config) {
		c.HealthEvery = 20 * time.Millisecond
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	secrets := map[string]string{"password": "hush-hush-hush", "user": "hush", "pin": "log"}
	refused, running := moodyAssignment("refused", "leak at start"), moodyAssignment("running", "leak")
	refused.Secrets, running.Secrets = secrets, secrets
	f.apply(refused, running)

	st := f.untilState("refused", Refused)
	if !strings.Contains(st.Reason, "log in at https://x/?key=[secret]: refused") {
		t.Errorf("refused because %q", st.Reason)
	}
	if err := f.WaitReady(t.Context(), "refused"); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("waiting says %v", err)
	}
	if st := f.untilState("running", Degraded); !strings.HasSuffix(st.Reason, "the sensor refuses [secret]") {
		t.Errorf("degraded because %q", st.Reason)
	}
	for _, c := range f.Collectors() {
		if c.Instance() != "running" {
			continue
		}
		err := c.Collect(t.Context(), sdk.CollectRequest{}, &gathered[sdk.Sample]{})
		if sdk.ClassOf(err) != sdk.Downstream || !strings.Contains(err.Error(), "refuses [secret]") || strings.Contains(fmt.Sprintf("%#v", err), "hush") {
			t.Errorf("the call says %#v", err)
		}
	}
	for range len(f.events.C()) {
		if e := <-f.events.C(); strings.Contains(e.Reason, "hush") {
			t.Errorf("an event says %q", e.Reason)
		}
	}
	if text := log.String(); strings.Contains(text, "hush") || !strings.Contains(text, "[secret]") {
		t.Errorf("the host's log:\n%s", text)
	}
}

func TestSecretsAreBlankedLongestFirst(t *testing.T) {
	r := newLogRing(time.Now, slog.New(slog.DiscardHandler))
	r.hide(map[string]string{"a": "pass", "b": "password", "c": "abc", "d": `a "b" c`})
	for text, want := range map[string]string{
		"password":              "[secret]",
		"pass word":             "[secret] word",
		"abc":                   "abc",
		`bad value "a \"b\" c"`: `bad value "[secret]"`,
		"?k=a+%22b%22+c":        "?k=[secret]",
	} {
		if got := r.blank(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// What was given to processes that have ended is blanked a while longer, and what is given to those that live for good.
func TestSecretsAreBlankedAsLongAsSomebodyHasThem(t *testing.T) {
	r := newLogRing(time.Now, slog.New(slog.DiscardHandler))
	r.hide(map[string]string{"a": "of the living"})
	r.hide(map[string]string{"a": "of the first"})()
	if got := r.blank("of the living, of the first"); got != "[secret], [secret]" {
		t.Errorf("got %q", got)
	}
	for i := range keptSecrets {
		r.hide(map[string]string{"a": fmt.Sprint("later", i)})()
	}
	if got := r.blank("of the living, of the first, later0"); got != "[secret], of the first, [secret]" {
		t.Errorf("got %q", got)
	}
	if len(r.hidden) != keptSecrets+1 {
		t.Errorf("%d sets are kept", len(r.hidden))
	}
}
