package logbook

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxLine bounds what is read of a line.
const maxLine = 256 << 10

// Line is one line of the log.
type Line struct {
	Time  time.Time  `json:"time"`
	Level slog.Level `json:"level"`
	Text  string     `json:"msg"`
	Rest  string     `json:"-"` // what was said with it, as key=value
}

// Query chooses lines.
type Query struct {
	Level slog.Level // and above
	Text  string     // that the line holds, in any case
	Most  int        // how many, the newest
}

// Search returns the newest lines that a query asks for, the oldest first. It reads the files of a folder, also while a Book writes them.
func Search(dir string, q Query) ([]Line, error) {
	q.Text = strings.ToLower(q.Text)
	var out []Line
	for n := 0; n <= Older && len(out) < q.Most; n++ {
		found, err := searchOne(filepath.Join(dir, name), n, Query{q.Level, q.Text, q.Most - len(out)})
		if err != nil {
			return nil, err
		}
		out = append(found, out...)
	}
	return out, nil
}

func searchOne(path string, n int, q Query) ([]Line, error) {
	if n > 0 {
		path = fmt.Sprintf("%s.%d", path, n)
	}
	f, err := os.Open(path)
	var in io.Reader = f
	if n > 0 && errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(path + ".gz")
		if err == nil {
			if in, err = gzip.NewReader(f); err != nil {
				f.Close()
				return nil, fmt.Errorf("%s.gz: %w", path, err)
			}
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return scan(in, q), nil
}

// scan keeps the last lines that fit, in a ring. What is no line of a log is passed over, and so is one that is too long.
func scan(in io.Reader, q Query) []Line {
	lines := bufio.NewReaderSize(in, maxLine)
	long := false // the rest of a line that is passed over comes next
	var ring [][]byte
	at := 0
	for more := true; more; {
		raw, err := lines.ReadSlice('\n')
		more = err == nil || errors.Is(err, bufio.ErrBufferFull)
		whole := !long
		long = errors.Is(err, bufio.ErrBufferFull)
		raw = bytes.TrimSuffix(raw, []byte("\n"))
		if !whole || long || len(raw) == 0 || !q.fits(raw) {
			continue
		}
		if len(ring) < q.Most {
			ring = append(ring, bytes.Clone(raw))
			continue
		}
		ring[at] = append(ring[at][:0], raw...)
		at = (at + 1) % len(ring)
	}
	var out []Line
	for i := range ring {
		if l, ok := parse(ring[(at+i)%len(ring)]); ok {
			out = append(out, l)
		}
	}
	return out
}

func (q Query) fits(raw []byte) bool {
	if q.Text != "" && !bytes.Contains(bytes.ToLower(raw), []byte(q.Text)) {
		return false
	}
	if q.Level <= slog.LevelDebug {
		return true
	}
	l, ok := parse(raw)
	return ok && l.Level >= q.Level
}

func parse(raw []byte) (Line, bool) {
	var l Line
	if json.Unmarshal(raw, &l) != nil || l.Time.IsZero() {
		return l, false
	}
	var rest map[string]any
	_ = json.Unmarshal(raw, &rest) // it was parsed before
	var keys []string
	for k := range rest {
		if k != slog.TimeKey && k != slog.LevelKey && k != slog.MessageKey {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	for i, k := range keys {
		text, ok := rest[k].(string)
		if !ok {
			raw, _ := json.Marshal(rest[k])
			text = string(raw)
		} else if strings.ContainsAny(text, " \t\n\"=") {
			text = fmt.Sprintf("%q", text)
		}
		if i > 0 {
			l.Rest += " "
		}
		l.Rest += k + "=" + text
	}
	return l, true
}
