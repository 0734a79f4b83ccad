package records

import (
	"reflect"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

// long are flows with features.
func long(t *testing.T, n int) []sdk.Flow {
	t.Helper()
	flows := filled(t, n)
	for i := range flows {
		flows[i].Features = new(sdk.Features)
		fill(t, reflect.ValueOf(flows[i].Features).Elem(), i*1000)
	}
	return flows
}

func plainly(flows []sdk.Flow) []sdk.Flow {
	out := append([]sdk.Flow(nil), flows...)
	for i := range out {
		out[i].Features = nil
	}
	return out
}

func TestFeaturesComeBackWhenTheyAreAskedFor(t *testing.T) {
	want := long(t, 3)
	frame := AppendFlows(nil, want)
	if !HasFeatures(frame) || HasFeatures(AppendFlows(nil, filled(t, 3))) || HasFeatures([]byte("x")) {
		t.Error("HasFeatures is wrong")
	}
	if len(frame) != FlowsSize(want) {
		t.Errorf("a frame of %d bytes, foretold were %d", len(frame), FlowsSize(want))
	}
	got, err := DecodeFlowFeatures(frame, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = DecodeFlows(frame, got); err != nil || !reflect.DeepEqual(got, plainly(want)) {
		t.Errorf("without features: %+v, %v", got, err)
	}
	if got, err = DecodeFlowFeatures(AppendFlows(nil, filled(t, 3)), got); err != nil || !reflect.DeepEqual(got, filled(t, 3)) {
		t.Errorf("of short rows: %+v, %v", got, err)
	}
}

func TestFlowsWithoutFeaturesAmongOthers(t *testing.T) {
	flows := long(t, 2)
	flows[1].Features = nil
	got, err := DecodeFlowFeatures(AppendFlows(nil, flows), nil)
	if err != nil || *got[1].Features != (sdk.Features{}) || *got[0].Features != *flows[0].Features {
		t.Errorf("got %+v, %v", got, err)
	}
}

// An older set has fewer features, a newer one more.
func TestFeaturesOfAnotherSet(t *testing.T) {
	want := long(t, 2)
	frame := AppendFlows(nil, want)
	got, err := DecodeFlowFeatures(restride(frame, longFlowLayout.rowSize-8), nil)
	for i := range want {
		want[i].Features.RevPrintable = 0 // the last one
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("of an older set: %+v, %v", got, err)
	}
	if got, err = DecodeFlowFeatures(restride(frame, longFlowLayout.rowSize+8), got); err != nil || !reflect.DeepEqual(got, long(t, 2)) {
		t.Errorf("of a newer set: %+v, %v", got, err)
	}
}

func TestChunksWithFeatures(t *testing.T) {
	want := long(t, 2*Chunk+3)
	frame := AppendLocalFlows(nil, want)
	for _, asked := range []bool{true, false} {
		c := FlowChunks{Features: asked}
		if err := c.Reset(frame); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(want); {
			part, err := c.Next()
			if err != nil || len(part) == 0 {
				t.Fatalf("%d flows, %v", len(part), err)
			}
			expected := want[at : at+len(part)]
			if !asked {
				expected = plainly(expected)
			}
			if !reflect.DeepEqual(part, expected) {
				t.Fatalf("flows from %d on differ", at)
			}
			at += len(part)
		}
	}
}

func TestDecoderOfBatchesWithFeatures(t *testing.T) {
	want := long(t, 3)
	frame := AppendFlows(nil, want)
	d := BatchDecoder{Features: true}
	for range 2 {
		if b, err := d.Decode(frame); err != nil || !reflect.DeepEqual(b.Flows, want) {
			t.Fatalf("got %+v, %v", b.Flows, err)
		}
	}
	if n := testing.AllocsPerRun(20, func() { _, _ = d.Decode(frame) }); n > 4 {
		t.Errorf("%v allocations to decode into used memory", n)
	}
}
