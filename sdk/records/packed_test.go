package records

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func TestPackedFeaturesAreJoinedAgain(t *testing.T) {
	want := long(t, 5)
	values := []float64{0, 1, -1, 0.5, 1e9, 1.0 / 3, math.Inf(1), math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 65537}
	for i := range want {
		f := reflect.ValueOf(want[i].Features).Elem()
		for k := range f.NumField() {
			if f.Field(k).Kind() == reflect.Float64 {
				f.Field(k).SetFloat(values[(i+k)%len(values)])
			}
		}
	}
	frame, packed := AppendShortFlows(nil, want), PackFeatures(nil, want)
	if err := Verify(packed); err != nil || SchemaOf(packed) != PackedFeatures || Count(packed) != 5 || HasFeatures(frame) {
		t.Fatalf("%v, schema %d, %d rows", err, SchemaOf(packed), Count(packed))
	}
	joined, err := Parcel{Frame: frame, Features: packed}.Long()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeVerifiedFlowFeatures(joined, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := (Parcel{Frame: frame, Features: packed}).Check(); err != nil {
		t.Error(err)
	}
	if alone, err := (Parcel{Frame: frame}).Long(); err != nil || &alone[0] != &frame[0] {
		t.Errorf("without features: %v", err)
	}
}

func TestFeaturesOfFewPacketsPackWell(t *testing.T) {
	flows := filled(t, 100)
	for i := range flows {
		flows[i].Features = &sdk.Features{}
	}
	if n := len(PackFeatures(nil, flows)); n > 100*48 {
		t.Errorf("a hundred times nothing takes %d bytes", n)
	}
}

func TestPackedFeaturesOfOtherFlowsAreRefused(t *testing.T) {
	flows := long(t, 2)
	frame, packed := AppendShortFlows(nil, flows), PackFeatures(nil, flows)
	change := func(at int, v uint64) []byte {
		out := append([]byte(nil), packed...)
		binary.LittleEndian.PutUint64(out[headerSize+at:], v)
		return out
	}
	for name, p := range map[string][]byte{
		"more flows":           PackFeatures(nil, long(t, 3)),
		"flows":                frame,
		"outside":              change(0, 1<<40-1),
		"tags without end":     change(8, math.MaxUint64),
		"more tags than there": change(8, 4096),
		"fewer tags":           change(8, 8),
		"cut":                  packed[:len(packed)-1],
	} {
		if _, err := JoinFeatures(nil, frame, p); !errors.Is(err, ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
		if err := (Parcel{Frame: frame, Features: p}).Check(); !errors.Is(err, ErrFrame) {
			t.Errorf("%s, checked: %v", name, err)
		}
	}
}

// A set of another version has more or fewer.
func TestPackedFeaturesOfAnotherSet(t *testing.T) {
	row := make([]byte, 16)
	if !unpack(row, []byte{0b010101, 0xf0, 0x3f, 0, 0x40, 8, 0x40}, 3) {
		t.Fatal("three tags were refused")
	}
	if one, two := binary.LittleEndian.Uint64(row), binary.LittleEndian.Uint64(row[8:]); one != math.Float64bits(1) || two != math.Float64bits(2) {
		t.Errorf("%x %x", one, two)
	}
	clear(row)
	if !unpack(row, []byte{1, 0xf0, 0x3f}, 1) || binary.LittleEndian.Uint64(row) != math.Float64bits(1) {
		t.Errorf("one tag gave %x", row)
	}
}

func FuzzJoinFeatures(f *testing.F) {
	flows := []sdk.Flow{{ID: 1, App: "dns", Packets: []uint64{1, 2}, Features: &sdk.Features{}}, {ID: 2}}
	frame := AppendShortFlows(nil, flows)
	f.Add(frame, PackFeatures(nil, flows))
	f.Add(frame, frame)
	f.Fuzz(func(t *testing.T, frame, packed []byte) {
		joined, err := JoinFeatures(nil, frame, packed)
		if checked := (Parcel{Frame: frame, Features: packed}).Check(); packed != nil && (checked == nil) != (err == nil) {
			t.Fatalf("checked: %v, joined: %v", checked, err)
		}
		if err != nil {
			return
		}
		if len(joined) > MaxFrame || !HasFeatures(joined) && Count(joined) > 0 {
			t.Fatalf("%d bytes, features: %v", len(joined), HasFeatures(joined))
		}
		if got, err := DecodeVerifiedFlowFeatures(joined, nil); err == nil && len(got) != Count(frame) {
			t.Fatalf("%d flows of %d", len(got), Count(frame))
		}
	})
}
