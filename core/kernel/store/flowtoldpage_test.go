package store

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

// Facts of a megabyte each make pages of few facts, and all pages together hold each of them once and in order, those of two
// days among one another.
func TestAPageOfFactsIsBoundedInBytes(t *testing.T) {
	now := &clock{t: start}
	f := openFlows(t, t.TempDir(), now)
	var want []uint64
	for day := range 2 {
		r, err := f.Record(t.Context(), "default", fmt.Sprintf("c%d", day))
		must(t, err)
		for i := range 10 {
			n := uint64(2*i + day)
			size := 1 << 20
			if i == 5 {
				size = factBytes + 1<<20 // more than a page, in one fact
			}
			must(t, r.Facts(t.Context(), sdk.FactsHTTP, records.Parcel{Frame: records.AppendFacts(nil, []sdk.HTTP{
				{Seen: sdk.Seen{Flow: 1, Packet: n, Time: start.Add(time.Duration(n) * time.Second)}, Target: strings.Repeat("x", size)},
				{Seen: sdk.Seen{Flow: n, Packet: 100 + n, Time: start.Add(time.Duration(100+n) * time.Second)}, Target: "/"},
			})}))
			want = append(want, n, 100+n)
		}
		must(t, r.Close(t.Context(), true))
		now.Add(24 * time.Hour)
	}
	slices.Sort(want)
	q := FactQuery{Tenant: "default", Kind: sdk.FactsHTTP, Page: Page{Limit: 500}}
	var got []uint64
	for pages := 1; ; pages++ {
		p, err := f.Facts(t.Context(), q)
		must(t, err)
		bytes := 0
		for _, x := range p.Facts {
			got = append(got, x.Seen.Packet)
			bytes += len(x.Value.(*sdk.HTTP).Target)
		}
		if len(p.Facts) == 0 || (bytes > factBytes && len(p.Facts) > 1) {
			t.Fatalf("page %d: %d facts of %d bytes", pages, len(p.Facts), bytes)
		}
		if q.Page.Cursor = p.Next; p.Next == "" {
			if pages < 5 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A copy is equal and holds none of the memory of what it was made of, whatever the kind of the fact.
func TestCopiesOfFactsAreTheirOwn(t *testing.T) {
	for _, fact := range []any{&sdk.DNS{}, &sdk.TLS{}, &sdk.HTTP{}, &sdk.SMB{}, &sdk.DHCP{}, &sdk.ARP{}, &sdk.OT{}, &sdk.File{}, &sdk.Login{}, &sdk.Message{}} {
		v := reflect.ValueOf(fact).Elem()
		for i := range v.NumField() {
			field, name := v.Field(i), fmt.Sprintf("%T.%s", fact, v.Type().Field(i).Name)
			switch x := field.Addr().Interface().(type) {
			case *string:
				*x = "a text"
			case *[]string:
				*x = []string{"one", "two"}
			case *[]uint64:
				*x = []uint64{1, 2}
			case *[]byte:
				*x = []byte("bytes")
			case *map[string]string:
				*x = map[string]string{"key": "word"}
			default:
				// A field of a kind that copyFact does not know would keep a whole frame.
				if k := field.Kind(); k == reflect.Slice || k == reflect.Map || k == reflect.Pointer || k == reflect.String {
					t.Errorf("%s is a %s, which is not copied", name, field.Type())
				}
			}
		}
		own, weight := copyFact(fact)
		if !reflect.DeepEqual(own, fact) || weight < int(v.Type().Size()) {
			t.Errorf("%T: %d bytes, %+v", fact, weight, own)
		}
		for i := range v.NumField() {
			if text, ok := v.Field(i).Interface().(string); ok && unsafe.StringData(text) == unsafe.StringData(reflect.ValueOf(own).Elem().Field(i).String()) {
				t.Errorf("%T: the copy shares %s", fact, v.Type().Field(i).Name)
			}
		}
	}
}
