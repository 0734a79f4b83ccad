package collect

import (
	"context"
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk"
)

// Limits on what one collection may bring: a broken collector must not fill the store with series.
const (
	MaxSamples   = 20_000
	maxName      = 200
	maxLabels    = 32
	maxLabelText = 1024
	maxAhead     = time.Minute // how far a sample's time may lie before and behind the agent's clock
	maxBehind    = time.Hour
)

// batch gathers the samples of one collection. It is the sink of its collector.
type batch struct {
	now   time.Time
	kept  []sdk.Sample
	count int // kept ones, also those that are stored already
	bad   map[string]uint64
	store func(ctx context.Context, samples []sdk.Sample) error
}

// Commit stores what has come so far. The collector is told then that it may forget it.
func (b *batch) Commit(ctx context.Context) error {
	if len(b.kept) == 0 {
		return nil
	}
	if err := b.store(ctx, b.kept); err != nil {
		return err
	}
	b.kept = nil
	return nil
}

// Sample keeps a sample that is fit to store.
func (b *batch) Sample(s sdk.Sample) error {
	reason := b.check(&s)
	if reason != "" {
		b.bad[reason]++
		return nil
	}
	s.Labels = maps.Clone(s.Labels)
	b.kept = append(b.kept, s)
	b.count++
	return nil
}

// check returns why a sample cannot be kept, "" when it can. A missing time becomes now.
func (b *batch) check(s *sdk.Sample) string {
	if s.Time.IsZero() {
		s.Time = b.now
	}
	switch {
	case b.count >= MaxSamples:
		return "too many samples"
	case !validName(s.Metric):
		return "metric name"
	case s.Type != sdk.Gauge && s.Type != sdk.Counter:
		return "type"
	case len(s.Unit) > 63 || !utf8.ValidString(s.Unit):
		return "unit"
	case math.IsNaN(s.Value) || math.IsInf(s.Value, 0):
		return "value is no number"
	case len(s.Labels) > maxLabels:
		return "too many labels"
	case s.Time.Sub(b.now) > maxAhead:
		return "time lies ahead"
	case b.now.Sub(s.Time) > maxBehind:
		return "time lies far back"
	}
	for name, value := range s.Labels {
		if !validName(name) {
			return "label name"
		}
		if len(value) > maxLabelText || !utf8.ValidString(value) {
			return "label value"
		}
	}
	return ""
}

// validName accepts the names of the OpenTelemetry conventions: words, dots and underscores, from a letter on. Capitals
// and a dash are allowed because names that others chose have them.
func validName(s string) bool {
	if s == "" || len(s) > maxName || !letter(rune(s[0])) {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool {
		return !letter(r) && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	}) < 0
}

func letter(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }

// The series about the collection itself: a gap in a chart then has its explanation beside it.
const (
	durationMetric = "picket.collect.duration"
	successMetric  = "picket.collect.success"
)

// own adds what is known about the collection itself.
func (b *batch) own(c Collector, took time.Duration, err error) {
	labels := map[string]string{"plugin": c.Plugin(), "instance": c.Instance()}
	success := 1.0
	if err != nil {
		success = 0
	}
	b.kept = append(b.kept,
		sdk.Sample{Metric: durationMetric, Unit: "s", Type: sdk.Gauge, Labels: labels, Time: b.now, Value: took.Seconds()},
		sdk.Sample{Metric: successMetric, Unit: "1", Type: sdk.Gauge, Labels: labels, Time: b.now, Value: success})
}
