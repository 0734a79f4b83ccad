package ingest

import (
	"bytes"
	"math"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Precisions of the times in Influx's line protocol, under the names of its two APIs.
var precisions = map[string]time.Duration{"": time.Nanosecond, "n": time.Nanosecond, "ns": time.Nanosecond, "u": time.Microsecond,
	"us": time.Microsecond, "µ": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour}

// Influx says how a body in line protocol is to be read.
type Influx struct {
	Precision string
	Now       time.Time         // for lines without a time
	Labels    map[string]string // of every sample
}

// WeighInflux says how much memory a body may take when it is read: behind each sign of equality may be a sample.
func WeighInflux(body []byte) int64 { return int64(bytes.Count(body, []byte("="))) * 130 }

// Read reads a body. A line that is wrong does not keep the others from being taken. Texts are not stored and not counted as
// refused: they stand beside numbers in what every sender of this format sends.
func (f Influx) Read(body []byte) (*Batch, error) {
	unit, known := precisions[f.Precision]
	if !known {
		return nil, malformed("precision %s is none of n, u, ms, s, m, h", show([]byte(f.Precision)))
	}
	b := &Batch{}
	l := lineReader{rest: body}
	for l.next() {
		if err := l.read(); err != nil {
			b.Refused.Add(Malformed, 1, "line %d: %s", l.number, err)
			l.skip()
			continue
		}
		if err := f.add(b, &l, unit); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (f Influx) add(b *Batch, l *lineReader, unit time.Duration) error {
	at := f.Now
	if l.timed {
		if l.time > math.MaxInt64/int64(unit) || l.time < math.MinInt64/int64(unit) {
			b.Refused.Add(Malformed, len(l.fields), "line %d: a time out of bounds; is precision=%s right?", l.number, f.Precision)
			return nil
		}
		at = time.Unix(0, l.time*int64(unit))
	}
	labels := make(map[string]string, len(l.tags)+len(f.Labels))
	for k, v := range f.Labels {
		labels[k] = v
	}
	for _, t := range l.tags {
		labels[t.key] = t.value
	}
	for _, x := range l.fields {
		name := l.measurement
		if x.key != "value" {
			name += "_" + x.key
		}
		if err := b.add(sdk.Sample{Metric: name, Type: sdk.Gauge, Labels: labels, Time: at, Value: x.value}); err != nil {
			return err
		}
	}
	return nil
}

const (
	maxTags   = 64
	maxFields = 1000
)

type tag struct{ key, value string }

type field struct {
	key   string
	value float64
}

// lineReader reads one line after the other. A line may have line breaks, within the quotes of a text.
type lineReader struct {
	rest   []byte
	number int // of the line, from 1
	breaks int // within the line

	measurement string
	tags        []tag
	fields      []field
	time        int64
	timed       bool
}

// next goes to the next line that says something.
func (l *lineReader) next() bool {
	for {
		l.number += 1 + l.breaks
		l.breaks = 0
		l.rest = bytes.TrimLeft(l.rest, " \t\r\x00")
		if len(l.rest) == 0 {
			return false
		}
		if c := l.rest[0]; c != '#' && c != '\n' {
			return true
		}
		l.skip()
	}
}

// skip goes behind the end of the line.
func (l *lineReader) skip() {
	_, l.rest, _ = bytes.Cut(l.rest, []byte("\n"))
}

// read reads a line and goes behind its end.
func (l *lineReader) read() error {
	l.tags, l.fields, l.timed, l.time = l.tags[:0], l.fields[:0], false, 0
	name, end := l.word(", ")
	if len(name) == 0 {
		return malformed("no measurement")
	}
	l.measurement = string(name)
	for end == ',' {
		var key, value []byte
		if key, end = l.word("=, "); end != '=' || len(key) == 0 {
			return malformed("a tag must have the form name=value, not %s", show(key))
		}
		if value, end = l.word(", "); len(value) == 0 {
			continue // an empty tag is none
		}
		if len(l.tags) == maxTags {
			return malformed("more than %d tags", maxTags)
		}
		l.tags = append(l.tags, tag{string(key), string(value)})
	}
	if end != ' ' {
		return malformed("no fields")
	}
	l.blanks()
	for more := true; more; {
		key, end := l.word("=, ")
		if end != '=' || len(key) == 0 {
			return malformed("a field must have the form name=value, not %s", show(key))
		}
		x, number, err := l.value()
		if err != nil {
			return err
		}
		if number {
			if len(l.fields) == maxFields {
				return malformed("more than %d fields", maxFields)
			}
			l.fields = append(l.fields, field{string(key), x})
		}
		if more = len(l.rest) > 0 && l.rest[0] == ','; more {
			l.rest = l.rest[1:]
		}
	}
	return l.moment()
}

// word reads up to one of the signs in stops or the end of the line, takes off what protects such signs, and goes behind the sign.
func (l *lineReader) word(stops string) (word []byte, end byte) {
	protected := false
	for i := 0; i < len(l.rest); i++ {
		switch c := l.rest[i]; {
		case c == '\\' && i+1 < len(l.rest) && bytes.IndexByte([]byte(`, =\`), l.rest[i+1]) >= 0:
			protected = true
			i++
		case c == '\n' || c == '\r':
			return l.take(i, protected), '\n'
		case bytes.IndexByte([]byte(stops), c) >= 0:
			word = l.take(i, protected)
			l.rest = l.rest[1:]
			return word, c
		}
	}
	return l.take(len(l.rest), protected), '\n'
}

// take takes the next n bytes.
func (l *lineReader) take(n int, protected bool) []byte {
	word := l.rest[:n]
	l.rest = l.rest[n:]
	if !protected {
		return word
	}
	plain := make([]byte, 0, n)
	for i := 0; i < n; i++ {
		if word[i] == '\\' && i+1 < n && bytes.IndexByte([]byte(`, =\`), word[i+1]) >= 0 {
			i++
		}
		plain = append(plain, word[i])
	}
	return plain
}

func (l *lineReader) blanks() { l.rest = bytes.TrimLeft(l.rest, " ") }

// value reads the value of a field; number is false for a text.
func (l *lineReader) value() (x float64, number bool, err error) {
	if len(l.rest) > 0 && l.rest[0] == '"' {
		for i := 1; i < len(l.rest); i++ {
			switch l.rest[i] {
			case '\\':
				i++
			case '\n':
				l.breaks++
			case '"':
				l.rest = l.rest[i+1:]
				return 0, false, nil
			}
		}
		l.breaks = 0 // what follows is read as lines of their own
		return 0, false, malformed("a text without an end")
	}
	word := l.rest[:bytesUntil(l.rest, ", \r\n")]
	l.rest = l.rest[len(word):]
	switch string(word) {
	case "t", "T", "true", "True", "TRUE":
		return 1, true, nil
	case "f", "F", "false", "False", "FALSE":
		return 0, true, nil
	case "":
		return 0, false, malformed("a field without a value")
	}
	switch digits := word[:len(word)-1]; word[len(word)-1] {
	case 'i':
		n, err := strconv.ParseInt(string(digits), 10, 64)
		return float64(n), err == nil, notANumber(word, err)
	case 'u':
		n, err := strconv.ParseUint(string(digits), 10, 64)
		return float64(n), err == nil, notANumber(word, err)
	}
	if c := word[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') || bytes.IndexByte(word, '_') >= 0 || bytes.ContainsAny(word, "xXpP") {
		return 0, false, notANumber(word, strconv.ErrSyntax)
	}
	x, err = strconv.ParseFloat(string(word), 64)
	if err == nil && math.IsInf(x, 0) {
		err = strconv.ErrRange
	}
	return x, err == nil, notANumber(word, err)
}

func notANumber(word []byte, err error) error {
	if err == nil {
		return nil
	}
	return malformed("%s is neither a number, nor a truth, nor a text in quotes", show(word))
}

func bytesUntil(b []byte, stops string) int {
	if i := bytes.IndexAny(b, stops); i >= 0 {
		return i
	}
	return len(b)
}

// moment reads the time, and goes behind the end of the line.
func (l *lineReader) moment() error {
	l.blanks()
	word := l.rest[:bytesUntil(l.rest, " \r\n")]
	if len(word) > 0 {
		n, err := strconv.ParseInt(string(word), 10, 64)
		if err != nil {
			return malformed("%s is no time", show(word))
		}
		l.time, l.timed = n, true
		l.rest = l.rest[len(word):]
	}
	l.rest = bytes.TrimLeft(l.rest, " \r")
	if len(l.rest) > 0 {
		if l.rest[0] != '\n' {
			return malformed("something behind the time")
		}
		l.rest = l.rest[1:]
	}
	return nil
}
