package columns

import (
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Every field of a flow and of its features has its column.
func TestEveryFieldHasAColumn(t *testing.T) {
	every(t, reflect.TypeFor[sdk.Flow](), func(f *sdk.Flow) reflect.Value { return reflect.ValueOf(f).Elem() })
	every(t, reflect.TypeFor[sdk.Features](), func(f *sdk.Flow) reflect.Value { return reflect.ValueOf(f.Features).Elem() })
}

func every(t *testing.T, of reflect.Type, in func(*sdk.Flow) reflect.Value) {
	t.Helper()
	for i := range of.NumField() {
		if of.Field(i).Name == "Features" {
			continue
		}
		f, g := &sdk.Flow{Features: &sdk.Features{}}, &sdk.Flow{Features: &sdk.Features{}}
		set(t, in(g).Field(i), of.Field(i).Name)
		seen := 0
		for k := range All() {
			if string(all[k].AppendText(nil, f)) != string(all[k].AppendText(nil, g)) {
				seen++
			}
		}
		if seen == 0 {
			t.Errorf("no column shows %s.%s", of.Name(), of.Field(i).Name)
		}
	}
}

func set(t *testing.T, v reflect.Value, name string) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1, 0)))
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("10.0.0.1")))
	case []uint64:
		v.Set(reflect.ValueOf([]uint64{7, 9}))
	default:
		switch {
		case v.CanUint():
			v.SetUint(1)
		case v.CanFloat():
			v.SetFloat(1)
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.String:
			v.SetString("x")
		default:
			t.Fatalf("%s has a type that this test does not know", name)
		}
	}
}

// Others read columns by name, so each has one, and says what it is.
func TestColumnsSayWhatTheyAre(t *testing.T) {
	names := map[string]bool{}
	for _, c := range All() {
		if names[c.Name] || c.Name == "" || c.Formula == "" {
			t.Errorf("column %q has no name or formula of its own", c.Name)
		}
		names[c.Name] = true
		kinds := 0
		for _, set := range []bool{c.Text != nil, c.Whole != nil, c.Real != nil, c.Bool != nil, c.Time != nil} {
			if set {
				kinds++
			}
		}
		if kinds != 1 {
			t.Errorf("column %s has %d kinds", c.Name, kinds)
		}
	}
	if len(Flow())+len(Features()) != len(All()) || len(Features()) != reflect.TypeFor[sdk.Features]().NumField() {
		t.Errorf("%d + %d of %d columns", len(Flow()), len(Features()), len(All()))
	}
}

// What every flow has needs no Features.
func TestPlainColumnsReadNoFeatures(t *testing.T) {
	for _, c := range Flow() {
		_ = c.AppendText(nil, &sdk.Flow{})
	}
}
