package quality

import (
	"reflect"
	"slices"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// What a detector says it does without, it finds the same without: nothing may rest on what comes when somebody else looks at it.
func TestFindingsDoNotRestOnPartsThatAreLeftOut(t *testing.T) {
	var brief []sdk.Plugin
	for _, p := range detectors() {
		if p.Subscription.Without != nil {
			brief = append(brief, p)
		}
	}
	found := 0
	for _, r := range index(t) {
		whole := shown(t, r.path(), brief)
		found += len(whole)
		if without := shown(t, r.path(), brief, slices.Clone(sdk.FactParts)...); !reflect.DeepEqual(whole, without) {
			t.Errorf("%s: with all parts %+v, without %+v", r.file, whole, without)
		}
	}
	if found == 0 {
		t.Error("nothing is found with all parts")
	}
}
