// Package ingest reads the formats in which others than agents hand in metrics: OTLP, Prometheus's remote write, Influx's
// line protocol and Picket's own JSON. Bytes go in, samples and what is known of their metrics come out, and what could
// not be taken, with the reason. It knows neither HTTP nor SQL.
//
// What comes in is hostile: nothing is made whose size a sender chose and that is not bounded.
package ingest

import (
	"errors"
	"fmt"

	"github.com/picketwatch/picket/sdk"
)

// Bounds of one body.
const (
	MaxSamples = 100_000
	maxNotes   = 10_000
	maxTold    = 10 // reasons that are told to the sender one by one
	maxHelp    = 1024
)

// ErrTooMany says that a body holds more than is taken at once.
var ErrTooMany = errors.New("more than 100,000 samples in one request; send them in several")

// FormatError says that a body is not in the format that it should be in: nothing of it was taken.
type FormatError struct{ What string }

func (e *FormatError) Error() string { return e.What }

func malformed(format string, args ...any) error { return &FormatError{fmt.Sprintf(format, args...)} }

// Note is what a sender says of a metric.
type Note struct {
	Metric string // as it is stored; of a histogram, without the ends of its three series
	Type   string // gauge, counter, histogram or summary
	Unit   string
	Help   string
}

// Reasons for which samples are refused.
const (
	Malformed   = "malformed"   // not what the format says
	Unsupported = "unsupported" // what the format allows and Picket does not store
	Repeated    = "repeated"    // growth that was added already
)

// Refused counts what of a body was not taken, and keeps the first reasons in words.
type Refused struct {
	By   map[string]int // by reason
	Told []string
}

// Add notes n refused samples.
func (r *Refused) Add(reason string, n int, format string, args ...any) {
	if r.By == nil {
		r.By = map[string]int{}
	}
	r.By[reason] += n
	if format != "" && len(r.Told) < maxTold {
		r.Told = append(r.Told, fmt.Sprintf(format, args...))
	}
}

// Batch is what a body says.
type Batch struct {
	Samples []sdk.Sample
	Notes   []Note
	Refused Refused
}

func (b *Batch) add(s sdk.Sample) error {
	if len(b.Samples) >= MaxSamples {
		return ErrTooMany
	}
	b.Samples = append(b.Samples, s)
	return nil
}

func (b *Batch) note(n Note) {
	if len(b.Notes) < maxNotes {
		n.Help = cut(n.Help, maxHelp)
		b.Notes = append(b.Notes, n)
	}
}

// cut shortens a text to at most n bytes, between two characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && text[n]&0xc0 == 0x80 {
		n--
	}
	return text[:n]
}

// show is a piece of a body as a message may repeat it.
func show(b []byte) string { return fmt.Sprintf("%q", cut(string(b[:min(len(b), 64)]), 60)) }
