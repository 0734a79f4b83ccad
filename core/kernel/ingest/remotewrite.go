package ingest

import (
	"encoding/binary"
	"math"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/sdk"
)

// Point is one measured value.
type Point struct {
	Millis int64
	Value  float64
}

// Series is one time series of a remote write, as it lies in the body. It is valid until the next one.
type Series struct {
	// Key is made of the bytes of its labels: what has the same key is the same series.
	Key        []byte
	Points     []Point
	Histograms int // native ones, which are not stored

	labels  [][]byte
	excess  bool // it has more labels than anything that is stored
	scratch []byte
}

// maxLabels is more than the store takes.
const maxLabels = 64

// The fields of prometheus.WriteRequest and its parts, version 1.
const (
	writeSeries, writeMetadata                             = 1, 3
	seriesLabel, seriesSample, seriesHistogram             = 1, 2, 4
	labelName, labelValue                                  = 1, 2
	sampleValue, sampleTime                                = 1, 2
	metadataType, metadataName, metadataHelp, metadataUnit = 1, 2, 4, 5
)

// metadataTypes are Prometheus's, by number. The others say nothing that is of use here.
var metadataTypes = map[uint64]string{1: "counter", 2: "gauge", 3: "histogram", 5: "summary"}

// ReadRemoteWrite walks through a body of Prometheus's remote write 1.0 that was unpacked, and calls each for its series. It
// ends with the first error of each.
func ReadRemoteWrite(body []byte, each func(*Series) error) (notes []Note, err error) {
	var s Series
	samples := 0
	err = fields(body, func(num protowire.Number, _ protowire.Type, v []byte, _ uint64) error {
		switch num {
		case writeSeries:
			if err := s.read(v); err != nil {
				return err
			}
			if samples += len(s.Points); samples > MaxSamples {
				return ErrTooMany
			}
			return each(&s)
		case writeMetadata:
			n, err := readMetadata(v)
			if err == nil && n.Metric != "" && n.Type != "" && len(notes) < maxNotes {
				notes = append(notes, n)
			}
			return err
		}
		return nil
	})
	return notes, err
}

func (s *Series) read(b []byte) error {
	s.labels, s.Points, s.Histograms, s.excess = s.labels[:0], s.Points[:0], 0, false
	begin, end, apart := 0, 0, false
	for at := 0; at < len(b); {
		num, kind, n := protowire.ConsumeTag(b[at:])
		if n < 0 {
			return errTruncated
		}
		field := at
		at += n
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, kind, b[at:]); n < 0 {
				return errTruncated
			}
			at += n
			continue
		}
		v, n := protowire.ConsumeBytes(b[at:])
		if n < 0 {
			return errTruncated
		}
		at += n
		switch num {
		case seriesLabel:
			if len(s.labels) == 0 {
				begin, end = field, field
			}
			apart = apart || field != end
			end = at
			if s.excess = len(s.labels) == maxLabels; !s.excess {
				s.labels = append(s.labels, v)
			}
		case seriesSample:
			p, err := readPoint(v)
			if err != nil {
				return err
			}
			if len(s.Points) >= MaxSamples {
				return ErrTooMany
			}
			s.Points = append(s.Points, p)
		case seriesHistogram:
			s.Histograms++
		}
	}
	s.Key = b[begin:end]
	if apart && !s.excess { // nobody writes labels between samples, but the format allows it
		s.scratch = s.scratch[:0]
		for _, l := range s.labels {
			s.scratch = append(binary.AppendUvarint(s.scratch, uint64(len(l))), l...)
		}
		s.Key = s.scratch
	}
	return nil
}

func readPoint(b []byte) (p Point, err error) {
	// As everybody writes it: a value and a time of the years 1980 to 2100.
	if len(b) == 16 && b[0] == sampleValue<<3|byte(protowire.Fixed64Type) && b[9] == sampleTime<<3|byte(protowire.VarintType) {
		if t, n := protowire.ConsumeVarint(b[10:]); n == 6 {
			return Point{int64(t), math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))}, nil
		}
	}
	timed := false
	err = fields(b, func(num protowire.Number, kind protowire.Type, _ []byte, v uint64) error {
		switch {
		case num == sampleValue && kind == protowire.Fixed64Type:
			p.Value = math.Float64frombits(v)
		case num == sampleTime && kind == protowire.VarintType:
			p.Millis, timed = int64(v), true
		}
		return nil
	})
	if err == nil && !timed {
		err = malformed("a sample without a time")
	}
	return p, err
}

// Sample is the series as it is stored, without a time and a value. What it is follows from its name, because a sender tells
// that later or never: two rules for one series would make it two.
func (s *Series) Sample() (sdk.Sample, error) {
	out := sdk.Sample{Type: sdk.Gauge, Labels: make(map[string]string, len(s.labels))}
	if s.excess {
		return out, malformed("a series with more than %d labels", maxLabels)
	}
	for _, raw := range s.labels {
		var name, value []byte
		err := fields(raw, func(num protowire.Number, kind protowire.Type, v []byte, _ uint64) error {
			switch {
			case kind != protowire.BytesType:
			case num == labelName:
				name = v
			case num == labelValue:
				value = v
			}
			return nil
		})
		switch {
		case err != nil:
			return out, err
		case !utf8.Valid(name) || !utf8.Valid(value):
			return out, malformed("a label that is no UTF-8: %s", show(raw))
		case len(value) == 0: // to Prometheus, an empty label is none
			continue
		case string(name) == "__name__":
			if out.Metric != "" {
				return out, malformed("a series with two names, %s and %s", show([]byte(out.Metric)), show(value))
			}
			out.Metric = string(value)
			continue
		}
		if _, twice := out.Labels[string(name)]; twice {
			return out, malformed("a series with the label %s twice", show(name))
		}
		out.Labels[string(name)] = string(value)
	}
	if out.Metric == "" {
		return out, malformed("a series without a name")
	}
	if countsUp(out.Metric) {
		out.Type = sdk.Counter
	}
	return out, nil
}

// countsUp reports whether a name is that of a counter by Prometheus's customs.
func countsUp(name string) bool {
	for _, end := range []string{"_total", "_bucket", "_sum", "_count"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

func readMetadata(b []byte) (n Note, err error) {
	err = fields(b, func(num protowire.Number, kind protowire.Type, v []byte, number uint64) error {
		switch {
		case num == metadataType && kind == protowire.VarintType:
			n.Type = metadataTypes[number]
		case kind != protowire.BytesType || !utf8.Valid(v):
		case num == metadataName:
			n.Metric = string(v)
		case num == metadataHelp:
			n.Help = cut(string(v), maxHelp)
		case num == metadataUnit:
			n.Unit = string(v)
		}
		return nil
	})
	return n, err
}

var errTruncated = malformed("a message of protobuf that ends in its middle")

// fields calls each with the fields of a message: v is what is in one of bytes, number what is in one of another kind.
func fields(b []byte, each func(num protowire.Number, kind protowire.Type, v []byte, number uint64) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		var v []byte
		var number uint64
		switch kind {
		case protowire.BytesType:
			v, n = protowire.ConsumeBytes(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			number, n = protowire.ConsumeFixed64(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return errTruncated
		}
		b = b[n:]
		if err := each(num, kind, v, number); err != nil {
			return err
		}
	}
	return nil
}
