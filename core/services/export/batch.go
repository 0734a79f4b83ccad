package export

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// A batch on disk: its series, then its samples, which name a series by its place. Numbers are varints; a text is its length and its
// bytes; a time is the difference in microseconds to the one before; a value is its eight bytes, little-endian.
const formatVersion = 1

func encode(list []store.Passing) []byte {
	var heads, rows []byte
	numbers := map[string]int{}
	last := int64(0)
	for _, p := range list {
		head := appendSeries(nil, p)
		n, known := numbers[string(head)]
		if !known {
			n = len(numbers)
			numbers[string(head)] = n
			heads = append(heads, head...)
		}
		us := p.Time.UnixMicro()
		rows = binary.AppendUvarint(rows, uint64(n))
		rows = binary.AppendVarint(rows, us-last)
		rows = binary.LittleEndian.AppendUint64(rows, math.Float64bits(p.Value))
		last = us
	}
	out := binary.AppendUvarint(nil, uint64(len(numbers)))
	return append(append(out, heads...), rows...)
}

func appendSeries(b []byte, p store.Passing) []byte {
	for _, text := range []string{p.Agent, p.Metric, p.Unit, string(p.Type)} {
		b = appendText(b, text)
	}
	names := make([]string, 0, len(p.Labels))
	for name := range p.Labels {
		names = append(names, name)
	}
	slices.Sort(names)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		b = appendText(appendText(b, name), p.Labels[name])
	}
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

var errBatch = errors.New("a batch that does not end where its lengths say")

// decode gives the samples of a series the same labels, with the name of its host when names knows it.
func decode(b []byte, names map[string]string) ([]sdk.Sample, error) {
	r := reader{b: b}
	series := make([]sdk.Sample, 0, r.count(5)) // a series is four texts and a number at least
	for range cap(series) {
		series = append(series, r.series(names))
	}
	var out []sdk.Sample
	last := int64(0)
	for r.err == nil && len(r.b) > 0 {
		n := r.uvarint()
		last += r.varint()
		bits := r.take(8)
		if r.err != nil || n >= uint64(len(series)) {
			return nil, errBatch
		}
		s := series[n]
		s.Time, s.Value = time.UnixMicro(last).UTC(), math.Float64frombits(binary.LittleEndian.Uint64(bits))
		out = append(out, s)
	}
	return out, r.err
}

// reader stops at the first thing that cannot be.
type reader struct {
	b   []byte
	err error
}

func (r *reader) series(names map[string]string) sdk.Sample {
	agent := r.text()
	s := sdk.Sample{Metric: r.text(), Unit: r.text(), Type: sdk.MetricType(r.text())}
	n := r.count(2)
	s.Labels = make(map[string]string, n+1)
	for range n {
		name := r.text()
		s.Labels[name] = r.text()
	}
	if host := names[agent]; host != "" && s.Labels[hostName] == "" {
		s.Labels[hostName] = strings.Clone(host)
	}
	return s
}

// hostName is OpenTelemetry's name for the machine that something was measured on.
const hostName = "host.name"

// count reads how many things of a least size follow.
func (r *reader) count(least int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	return pass(r, v, n)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	return pass(r, v, n)
}

func pass[T any](r *reader, v T, n int) (zero T) {
	if n <= 0 {
		r.fail()
		return zero
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) fail() { r.b, r.err = nil, errBatch }
