package host

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sort"
	"strings"
	"sync"
	"time"
)

const (
	maxLine       = 16 << 10
	maxAttrs      = 32
	maxAttr       = 2 << 10
	linesBurst    = 200
	linesPerSec   = 50
	truncatedMark = "…"
)

// lineLog turns what a process writes into log records. A plugin that floods is cut to a rate, and what was dropped is
// counted and said.
type lineLog struct {
	log *slog.Logger
	raw io.Writer
	now func() time.Time

	mu      sync.Mutex // guards all below
	tokens  float64
	last    time.Time
	dropped int
	named   bool            // whose panic it is was said
	told    func(lines int) // of what was dropped; may be nil
	writers []*lineWriter
}

func newLineLog(log *slog.Logger, raw io.Writer) *lineLog {
	return &lineLog{log: log, raw: raw, now: time.Now, tokens: linesBurst, last: time.Now()}
}

// writer returns a writer for one stream. Lines that are not JSON get the level.
func (l *lineLog) writer(level slog.Level) io.Writer {
	w := &lineWriter{lines: l, level: level}
	l.writers = append(l.writers, w)
	return w
}

// lineWriter cuts a stream into lines. Only one goroutine writes to it.
type lineWriter struct {
	lines   *lineLog
	level   slog.Level
	line    []byte
	long    bool
	inPanic bool
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.lines.mu.Lock()
	defer w.lines.mu.Unlock()
	if w.lines.raw != nil {
		w.lines.raw.Write(p) //nolint:errcheck // a full disk must not stop the plugin
	}
	n := len(p)
	for len(p) > 0 {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		room := maxLine - len(w.line)
		w.long = w.long || len(line) > room
		w.line = append(w.line, line[:min(len(line), room)]...)
		if ended {
			w.end()
		}
		p = rest
	}
	return n, nil
}

// end logs the line that was gathered.
func (w *lineWriter) end() {
	line, long := bytes.TrimRight(w.line, "\r"), w.long
	if len(line) > 0 && (w.lines.allow() || w.lines.names(line)) {
		w.emit(line, long)
	}
	w.line, w.long = w.line[:0], false
}

func (w *lineWriter) emit(line []byte, long bool) {
	if !long {
		if level, msg, attrs, ok := parseLine(line); ok {
			w.lines.log.LogAttrs(context.Background(), level, msg, attrs...)
			return
		}
	}
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	// The stack of a panic follows its first line; all of it belongs to the error.
	w.inPanic = w.inPanic || strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")
	level := w.level
	if w.inPanic {
		level = slog.LevelError
	}
	if long {
		text += truncatedMark
	}
	w.lines.log.LogAttrs(context.Background(), level, text)
}

// allow takes one token, and first says what was dropped before it.
func (l *lineLog) allow() bool {
	now := l.now()
	l.tokens = min(linesBurst, l.tokens+now.Sub(l.last).Seconds()*linesPerSec)
	l.last = now
	if l.tokens < 1 {
		l.dropped++
		if l.told != nil {
			l.told(1)
		}
		return false
	}
	l.tokens--
	l.sayDropped()
	return true
}

// names lets the line pass that says whose panic ends the process, however much the others write. There is one.
func (l *lineLog) names(line []byte) bool {
	if l.named || !bytes.Contains(line, []byte(Panicked)) {
		return false
	}
	_, msg, _, ok := parseLine(line)
	l.named = ok && msg == Panicked
	return l.named
}

func (l *lineLog) sayDropped() {
	if l.dropped > 0 {
		l.log.Warn("log lines of the plugin were dropped: it writes too many", "dropped", l.dropped)
		l.dropped = 0
	}
}

// flush logs what is left when the process has ended.
func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.writers {
		w.end()
	}
	l.sayDropped()
}

// parseLine reads a line of log/slog's JSON handler, or of go-hclog's.
func parseLine(line []byte) (slog.Level, string, []slog.Attr, bool) {
	if line[0] != '{' {
		return 0, "", nil, false
	}
	var fields map[string]any
	if err := json.Unmarshal(line, &fields); err != nil {
		return 0, "", nil, false
	}
	msg, ok := take(fields, "msg", "@message")
	if !ok {
		return 0, "", nil, false
	}
	levelText, _ := take(fields, "level", "@level")
	take(fields, "time", "@timestamp")
	var level slog.Level
	if err := level.UnmarshalText([]byte(levelText)); err != nil {
		level = slog.LevelInfo
	}
	return level, limit(msg, maxLine), attrs(fields), true
}

func take(fields map[string]any, names ...string) (string, bool) {
	for _, name := range names {
		if v, ok := fields[name].(string); ok {
			delete(fields, name)
			return v, true
		}
	}
	return "", false
}

func attrs(fields map[string]any) []slog.Attr {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	names = names[:min(len(names), maxAttrs)]
	out := make([]slog.Attr, 0, len(names))
	for _, name := range names {
		switch v := fields[name].(type) {
		case string:
			out = append(out, slog.String(limit(name, maxAttr), limit(v, maxAttr)))
		case float64, bool, nil:
			out = append(out, slog.Any(limit(name, maxAttr), v))
		default:
			text, _ := json.Marshal(v)
			out = append(out, slog.String(limit(name, maxAttr), limit(string(text), maxAttr)))
		}
	}
	return out
}

func limit(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + truncatedMark
}
