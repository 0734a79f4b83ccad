package logtail

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/sdk"
)

// place is up to where a file was read. Head tells whether it is the same file still.
type place struct {
	Offset int64  `json:"offset"`
	Head   string `json:"head"` // SHA-256 of its first bytes, as many as headSize or Offset
}

const headSize = 256

// tailed is what a log file that the host opened can do.
type tailed interface {
	fs.File
	io.ReaderAt
}

// file is one that is followed.
type file struct {
	name     string
	patterns []pattern
	maxLine  int
	maxRead  int64

	place
	known    bool   // place is of this file
	resumed  bool   // place is of an earlier life, and to be compared
	open     tailed // the one that was read last, kept open over a rotation; nil before the first
	missed   bool   // it was not there when it was first looked for, so that all of it is new
	skipping bool   // the line at Offset began before it, and is not looked at

	lines, bytes, dropped, skipped float64
	matched                        []float64
	values                         []values
}

// values are the numbers that a pattern found. Least and most are of one collection.
type values struct {
	count, sum, least, most float64
	fresh                   bool // there was one in this collection
}

func newFile(name string, c Config, patterns []pattern) *file {
	return &file{name: name, patterns: patterns, maxLine: c.MaxLine, maxRead: int64(c.MaxRead),
		matched: make([]float64, len(patterns)), values: make([]values, len(patterns))}
}

func (f *file) resume(p place) { f.place, f.known, f.resumed = p, true, true }

func (f *file) close() {
	if f.open != nil {
		f.open.Close()
		f.open = nil
	}
}

// read looks at the lines that came since the last time. When there is another file under the name, or none, the one before
// is read to its end first.
func (f *file) read(ctx context.Context, open func(string) (fs.File, error)) error {
	for i := range f.values {
		f.values[i].fresh = false
	}
	now, info, err := f.look(open)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			f.missed = f.missed || !f.known
			if f.open != nil {
				return errors.Join(f.rest(ctx), err)
			}
		}
		return err
	}
	if f.open != nil {
		before, err := f.open.Stat()
		if err == nil && !os.SameFile(before, info) {
			err = f.rest(ctx)
		}
		if err != nil {
			now.Close()
			return err
		}
	}
	f.close()
	f.open = now
	switch {
	case !f.known && !f.missed: // the first time
		f.known, f.Offset = true, info.Size()
		f.skipping = !f.endsLine(f.Offset)
	case !f.known:
		f.known = true
	case info.Size() < f.Offset || !f.same(): // cut, or written anew
		f.begin()
	}
	f.resumed = false
	if behind := info.Size() - f.Offset; behind > f.maxRead {
		f.skipped += float64(behind - f.maxRead)
		f.Offset += behind - f.maxRead
		f.skipping = !f.endsLine(f.Offset)
	}
	return f.upTo(ctx, info.Size(), false)
}

func (f *file) look(open func(string) (fs.File, error)) (tailed, fs.FileInfo, error) {
	opened, err := open(f.name)
	if err != nil {
		return nil, nil, err
	}
	info, err := opened.Stat()
	now, ok := opened.(tailed)
	if err == nil && !ok {
		err = sdk.Errorf(sdk.Unsupported, "%s cannot be read from its middle", f.name)
	}
	if err != nil {
		opened.Close()
		return nil, nil, err
	}
	return now, info, nil
}

// begin is for a file that is new under its name.
func (f *file) begin() { f.place, f.skipping = place{}, false }

// rest reads what is left of a file that was moved away, its last line too, and lets go of it.
func (f *file) rest(ctx context.Context) error {
	info, err := f.open.Stat()
	if err == nil {
		err = f.upTo(ctx, min(info.Size(), f.Offset+f.maxRead), true)
	}
	if ctx.Err() == nil { // else the rest of it is for the next time
		f.close()
		f.begin()
	}
	return err
}

// endsLine reports whether a line begins at the offset.
func (f *file) endsLine(offset int64) bool {
	var b [1]byte
	if offset == 0 {
		return true
	}
	n, _ := f.open.ReadAt(b[:], offset-1)
	return n == 1 && b[0] == '\n'
}

// same reports whether the file begins as the one that was read. Until something of it was read it is.
func (f *file) same() bool {
	if f.Offset == 0 || f.Head == "" {
		return !f.resumed || f.Offset == 0
	}
	return f.Head == f.head()
}

func (f *file) head() string {
	b := make([]byte, min(headSize, f.Offset))
	if _, err := io.ReadFull(io.NewSectionReader(f.open, 0, int64(len(b))), b); err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return strconv.Itoa(len(b)) + ":" + hex.EncodeToString(sum[:])
}

// between is after how many lines it is looked whether anybody waits still.
const between = 256

// upTo reads up to an offset. A line without an end is left for the next time, unless it is the last that there will be.
func (f *file) upTo(ctx context.Context, end int64, last bool) error {
	defer func() { f.Head = f.headNow() }()
	room := make([]byte, max(64<<10, f.maxLine+1))
	for lines := 0; f.Offset < end; {
		buf := room[:min(int64(len(room)), end-f.Offset)]
		n, err := f.open.ReadAt(buf, f.Offset)
		if n == 0 {
			if err == nil || errors.Is(err, io.EOF) {
				return nil // it was cut while it was read
			}
			return sdk.Errorf(sdk.Temporary, "read %s: %w", f.name, err)
		}
		took := 0
		for took < n {
			if lines++; lines%between == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			line, _, whole := bytes.Cut(buf[took:n], []byte("\n"))
			switch {
			case whole:
				f.line(line)
				took += len(line) + 1
				f.step(len(line) + 1)
				continue
			case len(line) > f.maxLine: // longer than may be: what is here of it is passed over
				f.long()
				f.step(len(line))
				took = n
			case last && f.Offset+int64(len(line)) >= end:
				f.line(line)
				f.step(len(line))
				took = n
			}
			break
		}
		if took == 0 {
			return nil // a line that is being written
		}
	}
	return nil
}

func (f *file) headNow() string {
	if len(f.Head) > 0 && f.Offset >= headSize && f.Head[:3] == strconv.Itoa(headSize) {
		return f.Head
	}
	return f.head()
}

func (f *file) step(n int) {
	f.Offset += int64(n)
	f.bytes += float64(n)
}

// long begins to pass over a line.
func (f *file) long() {
	if !f.skipping {
		f.dropped++
	}
	f.skipping = true
}

// line looks at one.
func (f *file) line(text []byte) {
	if f.skipping {
		f.skipping = false
		return
	}
	if len(text) > f.maxLine {
		f.dropped++
		return
	}
	f.lines++
	text = bytes.TrimSuffix(text, []byte("\r"))
	for i, p := range f.patterns {
		if p.value < 0 {
			if p.match.Match(text) {
				f.matched[i]++
			}
			continue
		}
		found := p.match.FindSubmatchIndex(text)
		if found == nil {
			continue
		}
		f.matched[i]++
		if from, to := found[2*p.value], found[2*p.value+1]; from >= 0 {
			if n, err := strconv.ParseFloat(string(text[from:to]), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
				f.values[i].add(n)
			}
		}
	}
}

func (v *values) add(n float64) {
	if !v.fresh || n < v.least {
		v.least = n
	}
	if !v.fresh || n > v.most {
		v.most = n
	}
	v.fresh = true
	v.count++
	if sum := v.sum + n; !math.IsInf(sum, 0) {
		v.sum = sum
	}
}

// samples says what was counted so far. A file that was never there has nothing to say.
func (f *file) samples(out *measure.Samples) {
	if !f.known {
		return
	}
	out.Counter("log.lines", "{line}", f.lines)
	out.Counter("log.bytes", "By", f.bytes)
	out.Counter("log.lines.dropped", "{line}", f.dropped)
	out.Counter("log.bytes.skipped", "By", f.skipped)
	for i, p := range f.patterns {
		out.Counter("log.lines.matched", "{line}", f.matched[i], "log.pattern", p.name)
		v := f.values[i]
		if p.value < 0 {
			continue
		}
		out.Counter("log.value.count", "{value}", v.count, "log.pattern", p.name)
		out.Gauge("log.value.sum", "", v.sum, "log.pattern", p.name)
		if v.fresh {
			out.Gauge("log.value.min", "", v.least, "log.pattern", p.name)
			out.Gauge("log.value.max", "", v.most, "log.pattern", p.name)
		}
	}
}
