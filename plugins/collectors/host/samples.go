package host

import (
	"time"

	"github.com/picketwatch/picket/sdk"
)

// samples gathers what one section read. A nil *samples holds nothing.
type samples struct{ list []sdk.Sample }

// label is a pair of name and value; a list of them keeps calls on one line.
type label [2]string

func (s *samples) gauge(metric, unit string, value float64, labels ...label) {
	s.add(sdk.Gauge, metric, unit, value, labels)
}

func (s *samples) counter(metric, unit string, value float64, labels ...label) {
	s.add(sdk.Counter, metric, unit, value, labels)
}

func (s *samples) add(t sdk.MetricType, metric, unit string, value float64, labels []label) {
	var m map[string]string
	if len(labels) > 0 {
		m = make(map[string]string, len(labels))
		for _, l := range labels {
			m[l[0]] = l[1]
		}
	}
	s.list = append(s.list, sdk.Sample{Metric: metric, Unit: unit, Type: t, Labels: m, Value: value})
}

// stamp gives the samples that have no time yet the time at which they were read.
func (s *samples) stamp(now time.Time) {
	for i := range s.list {
		if s.list[i].Time.IsZero() {
			s.list[i].Time = now
		}
	}
}

func (s *samples) emit(sink sdk.SampleSink) error {
	if s == nil {
		return nil
	}
	for _, sample := range s.list {
		if err := sink.Sample(sample); err != nil {
			return err
		}
	}
	return nil
}
