// Package measure gathers the samples of one collection: what goes in are names, units and values, what comes out are
// samples of one time that all carry what they have in common.
package measure

import (
	"maps"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Samples are those of one collection.
type Samples struct {
	Time   time.Time
	Common map[string]string // labels of every sample
	list   []sdk.Sample
}

// Gauge adds a value that goes up and down. Labels are pairs of name and value.
func (s *Samples) Gauge(metric, unit string, value float64, labels ...string) {
	s.add(sdk.Gauge, metric, unit, value, labels)
}

// Counter adds a value that only grows.
func (s *Samples) Counter(metric, unit string, value float64, labels ...string) {
	s.add(sdk.Counter, metric, unit, value, labels)
}

func (s *Samples) add(kind sdk.MetricType, metric, unit string, value float64, labels []string) {
	all := maps.Clone(s.Common)
	if all == nil && len(labels) > 0 {
		all = make(map[string]string, len(labels)/2)
	}
	for i := 0; i+1 < len(labels); i += 2 {
		all[labels[i]] = labels[i+1]
	}
	s.list = append(s.list, sdk.Sample{Metric: metric, Unit: unit, Type: kind, Labels: all, Time: s.Time, Value: value})
}

// Len is how many there are.
func (s *Samples) Len() int { return len(s.list) }

// Emit hands them over.
func (s *Samples) Emit(sink sdk.SampleSink) error {
	for _, sample := range s.list {
		if err := sink.Sample(sample); err != nil {
			return err
		}
	}
	return nil
}

// OneIf is the value of a series that says yes or no.
func OneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
