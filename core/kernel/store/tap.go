package store

import (
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Tap is shown samples on their way to the disk.
type Tap struct {
	Wants func(tenant, metric string) bool
	// Take gets those that are wanted, in the order of the commits and before each: whatever is acknowledged was shown. A commit that
	// fails is shown again when its sender repeats it. The writer waits for it.
	Take func([]Passing)
}

// Passing is a sample that passes, and whose it is. Its labels are not to be changed.
type Passing struct {
	Tenant, Agent string
	sdk.Sample
}

// SetTap replaces the tap; nil removes it.
func (t *Telemetry) SetTap(tap *Tap) { t.tap.Store(tap) }

// show leaves out what only PromQL can read: values that are no numbers.
func (t *Telemetry) show(day int64, group []*request) {
	tap := t.tap.Load()
	if tap == nil {
		return
	}
	var list []Passing
	for _, r := range group {
		for _, row := range r.parts[day] {
			s := row.series
			if !finite(row.value) || !tap.Wants(s.tenant, s.metric) {
				continue
			}
			list = append(list, Passing{s.tenant, s.agent, sdk.Sample{Metric: s.metric, Unit: s.unit, Type: s.kind, Labels: s.labels,
				Time: time.UnixMicro(row.us).UTC(), Value: row.value}})
		}
	}
	if len(list) > 0 {
		tap.Take(list)
	}
}
