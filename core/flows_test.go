package core

import (
	"errors"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/core/services/traffic"
)

// All places are taken for a moment, by what agents sent: a capture's flows are kept all the same.
func TestARecordingWaitsForItsPlace(t *testing.T) {
	flows, err := store.OpenFlows(t.Context(), store.FlowsConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = flows.Close() })
	var taken []*store.FlowRecording
	for {
		r, err := flows.Record(t.Context(), "t", "live-"+string(rune('a'+len(taken))))
		var busy *store.BusyError
		if errors.As(err, &busy) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, r)
	}
	time.AfterFunc(3*recordRetry, func() { _ = taken[0].Close(t.Context(), true) })
	c := &Core{flows: flows}
	r, err := c.recordFlows(t.Context(), traffic.Capture{ID: "capture", Tenant: "t"})
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range append(taken[1:], r.(*store.FlowRecording)) {
		if err := x.Close(t.Context(), true); err != nil {
			t.Error(err)
		}
	}
}
