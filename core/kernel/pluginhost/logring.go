package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	logLines  = 200  // kept per instance
	logText   = 1024 // bytes kept of a line
	logBurst  = 100  // lines at once
	logPerSec = 20   // and then this many a second
)

// logRing keeps the last lines that an instance wrote. Lines over the rate are dropped and counted, so that a plugin
// in a fit neither fills the host's log nor pushes out what led to it. Secrets of the assignment are blanked.
type logRing struct {
	now     func() time.Time
	forward *slog.Logger // warnings and errors go to the host's log too

	mu      sync.Mutex // guards all below
	lines   [logLines]LogLine
	written int
	tokens  float64
	filled  time.Time
	dropped uint64
	secrets *strings.Replacer
	hidden  []*secretSet // of the processes that live, and of the last that ended
	perSec  float64      // 0 means logPerSec
}

// limit sets how many lines a second are kept in the long run.
func (r *logRing) limit(perSecond int) {
	r.mu.Lock()
	r.perSec = float64(perSecond)
	r.mu.Unlock()
}

// lost counts lines that were dropped before they came here.
func (r *logRing) lost(lines int) {
	r.mu.Lock()
	r.dropped += uint64(lines)
	r.mu.Unlock()
}

// losses is how many lines were dropped.
func (r *logRing) losses() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// flooded reports whether lines were dropped.
func (r *logRing) flooded() bool { return r.losses() > 0 }

func newLogRing(now func() time.Time, forward *slog.Logger) *logRing {
	return &logRing{now: now, forward: forward, tokens: logBurst, filled: now()}
}

// shortestSecret is the shortest that is blanked: blanking "a" would blank the text.
const shortestSecret = 4

// keptSecrets is how many sets are blanked on after their process has ended: its last words are still under way.
const keptSecrets = 8

// secretSet is what one assignment must keep to itself.
type secretSet struct {
	values map[string]string
	ended  bool
}

// hide blanks these values from now on, beside those that are blanked already. drop is called once their process has
// ended.
func (r *logRing) hide(secrets map[string]string) (drop func()) {
	set := &secretSet{values: secrets}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden = append(r.hidden, set)
	r.blankAll()
	return func() { r.drop(set) }
}

func (r *logRing) drop(set *secretSet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	set.ended = true
	// Behind those that live, so that the one that ended first goes first.
	if i := slices.Index(r.hidden, set); i >= 0 {
		r.hidden = append(slices.Delete(r.hidden, i, i+1), set)
	}
	ended := 0
	for i := len(r.hidden) - 1; i >= 0; i-- {
		if !r.hidden[i].ended {
			continue
		}
		if ended++; ended > keptSecrets {
			r.hidden = slices.Delete(r.hidden, i, i+1)
			break
		}
	}
	r.blankAll()
}

// blankAll makes what replaces the values of all sets, the longest first: one may begin with another. A value is also
// blanked as an error would quote it or an address escape it. The caller holds mu.
func (r *logRing) blankAll() {
	var values []string
	for _, set := range r.hidden {
		for _, v := range set.values {
			if len(v) >= shortestSecret {
				quoted := strconv.Quote(v)
				values = append(values, v, quoted[1:len(quoted)-1], url.QueryEscape(v), url.PathEscape(v))
			}
		}
	}
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, v := range slices.Compact(values) {
		pairs = append(pairs, v, "[secret]")
	}
	r.secrets = strings.NewReplacer(pairs...)
}

// blank takes the secrets out of a text that leaves the instance.
func (r *logRing) blank(text string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.blankLocked(text)
}

func (r *logRing) blankLocked(text string) string {
	if r.secrets == nil {
		return text
	}
	return r.secrets.Replace(text)
}

// blankError is blank for an error. What had to be blanked keeps its class and its retry, and wraps nothing: what it
// wrapped would tell.
func (r *logRing) blankError(err error) error {
	if err == nil {
		return nil
	}
	text := r.blank(err.Error())
	if text == err.Error() {
		return err
	}
	clean := &sdk.Error{Class: sdk.ClassOf(err), Message: text}
	var e *sdk.Error
	if errors.As(err, &e) {
		clean.RetryAfter = e.RetryAfter
	}
	return clean
}

func (r *logRing) add(level slog.Level, text string) {
	text, ok := r.keep(level, text)
	if ok && level >= slog.LevelWarn {
		r.forward.Log(context.Background(), level, text)
	}
}

func (r *logRing) keep(level slog.Level, text string) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	perSec := r.perSec
	if perSec == 0 {
		perSec = logPerSec
	}
	r.tokens = min(logBurst, r.tokens+perSec*now.Sub(r.filled).Seconds())
	r.filled = now
	if r.tokens < 1 {
		r.dropped++
		return "", false
	}
	r.tokens--
	text = r.blankLocked(text)
	if len(text) > logText {
		text = text[:logText] + "…"
	}
	text = strings.ToValidUTF8(text, "�")
	r.lines[r.written%logLines] = LogLine{Time: now, Level: strings.ToLower(level.String()), Text: text}
	r.written++
	return text, true
}

// tail returns up to n lines, the oldest first, and how many were dropped.
func (r *logRing) tail(n int) ([]LogLine, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n = min(n, r.written, logLines)
	out := make([]LogLine, 0, n)
	for i := r.written - n; i < r.written; i++ {
		out = append(out, r.lines[i%logLines])
	}
	return out, r.dropped
}

// lastWords is what a process that died wrote to explain itself since it was started: a Go program's first line of a
// panic, otherwise the last error, otherwise the last line.
func (r *logRing) lastWords(since time.Time) string {
	lines, _ := r.tail(logLines)
	words, failure := "", ""
	for _, l := range lines {
		if l.Time.Before(since) {
			continue
		}
		if strings.HasPrefix(l.Text, "panic: ") || strings.HasPrefix(l.Text, "fatal error: ") {
			return l.Text
		}
		words = l.Text
		if l.Level == "error" {
			failure = l.Text
		}
	}
	if failure != "" {
		return failure
	}
	return words
}

// ringHandler writes log records into the ring.
type ringHandler struct {
	ring  *logRing
	attrs string // already rendered
	group string
}

func (h ringHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h ringHandler) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(rec.Message)
	b.WriteString(h.attrs)
	rec.Attrs(func(a slog.Attr) bool {
		h.render(&b, a)
		return true
	})
	h.ring.add(rec.Level, b.String())
	return nil
}

func (h ringHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		h.render(&b, a)
	}
	h.attrs = b.String()
	return h
}

func (h ringHandler) WithGroup(name string) slog.Handler {
	h.group += name + "."
	return h
}

func (h ringHandler) render(b *strings.Builder, a slog.Attr) {
	if a.Equal(slog.Attr{}) || a.Key == "instance" && h.group == "" { // the ring is that instance's
		return
	}
	b.WriteString(" " + h.group + a.Key + "=" + a.Value.Resolve().String())
}
