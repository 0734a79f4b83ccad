package api

import (
	"reflect"
	"testing"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// Findings of several captures merge into one alert; what each of them names belongs to its own capture.
func TestEvidenceByWhereItWasSeen(t *testing.T) {
	found := func(capture, agent string, packets []uint64, flows ...uint64) store.Finding {
		f := store.Finding{CaptureID: capture, Agent: agent, Finding: sdk.Finding{Packets: packets}}
		for _, id := range flows {
			f.Flows = append(f.Flows, sdk.FlowRef{ID: id})
		}
		return f
	}
	got := evidence([]store.Finding{
		found("a", "", []uint64{9, 3, 9}, 1), found("b", "", []uint64{3}, 1, 2), found("a", "", []uint64{4}, 1), found("", "agent", nil, 5),
	})
	of := func(capture string, ids ...uint64) (list []evidenceFlow) {
		for _, id := range ids {
			list = append(list, evidenceFlow{sdk.FlowRef{ID: id}, capture})
		}
		return list
	}
	want := []evidenceBody{
		{CaptureID: "a", Packets: []uint64{3, 4, 9}, Flows: of("a", 1), Kept: []keptEvidenceBody{}},
		{CaptureID: "b", Packets: []uint64{3}, Flows: of("b", 1, 2), Kept: []keptEvidenceBody{}},
		{Agent: "agent", Packets: []uint64{}, Flows: of("", 5), Kept: []keptEvidenceBody{}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	many := make([]uint64, 2*maxEvidence)
	for i := range many {
		many[i] = uint64(i)
	}
	if got := evidence([]store.Finding{found("a", "", many), found("b", "", many)}); len(got[0].Packets)+len(got[1].Packets) != maxEvidence {
		t.Errorf("%d and %d packets", len(got[0].Packets), len(got[1].Packets))
	}
}
