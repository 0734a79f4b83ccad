package runner

import (
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

type findingsAlone struct{ found int }

func (f *findingsAlone) Finding(sdk.Finding) error {
	f.found++
	return nil
}

type both struct {
	findingsAlone
	seen int
}

func (b *both) Sighting(sdk.Sighting) error {
	b.seen++
	return nil
}

func TestWhatAGuestSaysOfABatch(t *testing.T) {
	said := abi.Response{Findings: make([]sdk.Finding, 2), Sightings: make([]sdk.Sighting, 3)}
	var all both
	if err := emit(said, &all); err != nil || all.found != 2 || all.seen != 3 {
		t.Errorf("%d findings, %d sightings, %v", all.found, all.seen, err)
	}
	var some findingsAlone
	if err := emit(said, &some); sdk.ClassOf(err) != sdk.Unsupported || some.found != 2 {
		t.Errorf("%d findings, %v", some.found, err)
	}
}
