package promql

import (
	"bufio"
	"encoding/json"
	"io"
	"iter"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
)

// Answer is what a query gave. It holds memory of the engine's until it is closed.
type Answer struct {
	Warnings, Infos []string

	value parser.Value
	limit int
	close func()
}

// Close gives the memory back.
func (a *Answer) Close() { a.close() }

// Type is "vector", "matrix", "scalar" or "string".
func (a *Answer) Type() string { return string(a.value.Type()) }

// Each hands over the elements of a vector, or a scalar as one without labels. The name of a metric is not among the labels.
func (a *Answer) Each(fn func(ls map[string]string, value float64)) {
	switch v := a.value.(type) {
	case promql.Vector:
		for _, s := range v {
			fn(unnamed(s.Metric), s.F)
		}
	case promql.Scalar:
		fn(map[string]string{}, v.V)
	}
}

// EachSeries hands over the series of a matrix with their points, by time.
func (a *Answer) EachSeries(fn func(ls map[string]string, points iter.Seq2[time.Time, float64])) {
	m, _ := a.value.(promql.Matrix)
	for _, s := range m {
		fn(unnamed(s.Metric), func(yield func(time.Time, float64) bool) {
			for _, p := range s.Floats {
				if !yield(timestamp.Time(p.T).UTC(), p.F) {
					return
				}
			}
		})
	}
}

func unnamed(ls labels.Labels) map[string]string {
	m := ls.Map()
	delete(m, "__name__")
	return m
}

// cut keeps no more series than were asked for.
func (a *Answer) cut() {
	if a.limit <= 0 {
		return
	}
	switch v := a.value.(type) {
	case promql.Vector:
		if len(v) <= a.limit {
			return
		}
		a.value = v[:a.limit]
	case promql.Matrix:
		if len(v) <= a.limit {
			return
		}
		a.value = v[:a.limit]
	default:
		return
	}
	a.Warnings = append(a.Warnings, Truncated)
}

// Truncated is the warning that there was more than was asked for.
const Truncated = "results truncated due to limit"

// WriteJSON writes the value as Prometheus's API does: a time is seconds, a value is a string.
func (a *Answer) WriteJSON(w io.Writer) error {
	e := encoder{out: bufio.NewWriterSize(w, 64<<10)}
	switch v := a.value.(type) {
	case promql.Vector:
		e.list(len(v), func(i int) {
			e.series(v[i].Metric)
			e.text(`,"value":`)
			e.point(v[i].T, v[i].F)
			e.text("}")
		})
	case promql.Matrix:
		e.list(len(v), func(i int) {
			e.series(v[i].Metric)
			e.text(`,"values":`)
			points := v[i].Floats
			e.list(len(points), func(j int) { e.point(points[j].T, points[j].F) })
			e.text("}")
		})
	case promql.Scalar:
		e.point(v.T, v.V)
	case promql.String:
		e.text("[")
		e.millis(v.T)
		e.text(",")
		e.quoted(v.V)
		e.text("]")
	}
	return e.out.Flush()
}

// encoder writes JSON. Errors show at the end, as those of a bufio.Writer do.
type encoder struct {
	out     *bufio.Writer
	scratch []byte
}

func (e *encoder) text(s string) { e.out.WriteString(s) } //nolint:errcheck // kept by the writer until Flush

func (e *encoder) list(n int, item func(i int)) {
	e.text("[")
	for i := range n {
		if i > 0 {
			e.text(",")
		}
		item(i)
	}
	e.text("]")
}

// series writes the beginning of an object: its labels.
func (e *encoder) series(ls labels.Labels) {
	e.text(`{"metric":{`)
	first := true
	ls.Range(func(l labels.Label) {
		if !first {
			e.text(",")
		}
		first = false
		e.quoted(l.Name)
		e.text(":")
		e.quoted(l.Value)
	})
	e.text("}")
}

func (e *encoder) quoted(s string) {
	text, err := json.Marshal(s)
	if err != nil { // strings always can be
		text = []byte(`""`)
	}
	e.out.Write(text) //nolint:errcheck // kept by the writer until Flush
}

func (e *encoder) point(t int64, v float64) {
	e.text("[")
	e.millis(t)
	e.text(`,"`)
	e.scratch = AppendValue(e.scratch[:0], v)
	e.out.Write(e.scratch) //nolint:errcheck // kept by the writer until Flush
	e.text(`"]`)
}

// millis writes a time in seconds, with its milliseconds when it has any.
func (e *encoder) millis(t int64) {
	b := e.scratch[:0]
	if t < 0 {
		b, t = append(b, '-'), -t
	}
	b = strconv.AppendInt(b, t/1000, 10)
	if rest := t % 1000; rest != 0 {
		b = append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
	}
	e.scratch = b
	e.out.Write(b) //nolint:errcheck // kept by the writer until Flush
}

// AppendValue writes a number as Prometheus does.
func AppendValue(b []byte, v float64) []byte {
	format := byte('f')
	if abs := math.Abs(v); abs != 0 && (abs < 1e-6 || abs >= 1e21) && !math.IsInf(v, 0) {
		format = 'e'
	}
	return strconv.AppendFloat(b, v, format, -1, 64)
}
