package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// vector is what the JSON file beside a frame says about it.
type vector struct {
	Schema string `json:"schema"`
	// Canonical says that a writer of today gives exactly these bytes for the rows.
	Canonical bool `json:"canonical"`
	// Refused says why a reader must not take the frame; it has no rows then.
	Refused string `json:"refused,omitempty"`
	// Rows hold the fields by their names in the schema. A time is nanoseconds since 1970 or null, an address a text,
	// empty for none; bytes are in base64; a float that JSON has no number for is "NaN", "Infinity" or "-Infinity".
	Rows []map[string]any `json:"rows"`
}

// frame is a vector with its bytes.
type frame struct {
	vector
	bytes []byte
}

// generate returns the content of all files by name.
func generate(root string) (map[string][]byte, error) {
	names, err := fieldNames(root)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(root, "sdk", "records", "testdata", "vectors")
	out := map[string][]byte{}
	all := frames(names)
	facts, err := factFrames(root)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, facts)
	maps.Copy(all, sharing())
	for name, f := range all {
		text, err := json.MarshalIndent(f.vector, "", " ")
		if err != nil {
			return nil, fmt.Errorf("vector %s: %w", name, err)
		}
		out[filepath.Join(dir, name+".bin")] = f.bytes
		out[filepath.Join(dir, name+".json")] = append(text, '\n')
	}
	return out, nil
}

// fieldNames maps the fields of sdk.Flow to their names in the schema.
func fieldNames(root string) (map[string]string, error) {
	data, err := os.ReadFile(filepath.Join(root, "proto", "records", "flow.json"))
	if err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	var schema struct {
		Fields   []struct{ Name, Go string }
		Features struct{ Fields []struct{ Name, Go string } }
	}
	if err := json.Unmarshal(data, &schema); err != nil {
		return nil, fmt.Errorf("read schema: %w", err)
	}
	names := map[string]string{}
	for _, f := range append(schema.Fields, schema.Features.Fields...) {
		names[f.Go] = f.Name
	}
	return names, nil
}

func frames(names map[string]string) map[string]frame {
	edge, long, sample := edgeFlows(), longFlows(), sdktest.SampleFlows()[:40]
	good := func(flows []sdk.Flow, canonical bool, bytes []byte) frame {
		return frame{vector{Schema: "flow", Canonical: canonical, Rows: rows(flows, names)}, bytes}
	}
	out := map[string]frame{
		"flow-none":   good(nil, true, records.AppendFlows(nil, nil)),
		"flow-edge":   good(edge, true, records.AppendFlows(nil, edge)),
		"flow-sample": good(sample, true, records.AppendFlows(nil, sample)),
		"flow-long":   good(long, true, records.AppendFlows(nil, long)),
		"flow-longer": good(long, false, lengthen(records.AppendFlows(nil, long), 24)),
	}
	for name, f := range refused(records.AppendFlows(nil, edge)) {
		out["refused-"+name] = f
	}
	return out
}

// edgeFlows are flows that hold the least, the most and the unusual.
func edgeFlows() []sdk.Flow {
	most := sdk.Flow{Src: netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Dst: netip.MustParseAddr("255.255.255.255"),
		Start: time.Unix(0, math.MaxInt64).UTC(), End: time.Unix(0, math.MinInt64+1).UTC(), InitiatorGuessed: true, CommunityID: "1:ümläut €𝄞"}
	most.App, most.Tunnel = "tls", "vxlan"
	fill(reflect.ValueOf(&most).Elem(), math.MaxUint64, math.MaxFloat64)
	for i := range uint64(20) {
		most.Packets = append(most.Packets, math.MaxUint64-i)
	}
	return []sdk.Flow{
		{},
		{ID: 1, Start: time.Unix(0, 0).UTC(), End: time.Unix(0, -1).UTC(), Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("::"),
			Packets: []uint64{1}, IATMean: math.Copysign(0, -1), IATStd: math.SmallestNonzeroFloat64, FwdLenMax: 0.1},
		{ID: 2, Src: netip.MustParseAddr("::ffff:192.0.2.1"), Dst: netip.MustParseAddr("2001:db8::8:800:200c:417a"), CommunityID: "1:x",
			IATMin: math.NaN(), IATMax: math.Inf(1), FwdIATMin: math.Inf(-1)},
		most,
	}
}

// longFlows are those with features.
func longFlows() []sdk.Flow {
	flows := edgeFlows()
	for i := range flows {
		flows[i].Features = &sdk.Features{FwdEntropy: float64(i) / 7, LenMin: math.NaN()}
	}
	fill(reflect.ValueOf(flows[1].Features).Elem(), 0, -math.MaxFloat64)
	return flows
}

// fill sets every number of a struct.
func fill(v reflect.Value, whole uint64, broken float64) {
	for i := range v.NumField() {
		switch field := v.Field(i); {
		case field.CanUint():
			field.SetUint(whole >> (64 - field.Type().Bits()))
		case field.CanFloat():
			field.SetFloat(broken)
		}
	}
}

// rows describes flows by the names of the schema.
func rows(flows []sdk.Flow, names map[string]string) []map[string]any {
	out := []map[string]any{}
	for i := range flows {
		row := map[string]any{}
		describe(row, reflect.ValueOf(flows[i]), names)
		if flows[i].Features != nil {
			describe(row, reflect.ValueOf(*flows[i].Features), names)
		}
		out = append(out, row)
	}
	return out
}

func describe(row map[string]any, v reflect.Value, names map[string]string) {
	for k := range v.NumField() {
		if name := v.Type().Field(k).Name; name != "Features" {
			row[names[name]] = value(v.Field(k).Interface())
		}
	}
}

func value(v any) any {
	switch v := v.(type) {
	case time.Time:
		if v.IsZero() {
			return nil
		}
		return v.UnixNano()
	case netip.Addr:
		if !v.IsValid() {
			return ""
		}
		return v.String()
	case []uint64:
		return append([]uint64{}, v...)
	case []string:
		return append([]string{}, v...)
	case []byte:
		return append([]byte{}, v...) // base64
	case map[string]string:
		if v == nil {
			return map[string]string{}
		}
	case float64:
		return float(v)
	}
	return v
}

func float(v float64) any {
	switch {
	case math.IsNaN(v):
		return "NaN"
	case math.IsInf(v, 1):
		return "Infinity"
	case math.IsInf(v, -1):
		return "-Infinity"
	case v == 0 && math.Signbit(v):
		return json.Number("-0.0")
	}
	return json.Number(strconv.FormatFloat(v, 'g', -1, 64))
}

const (
	headerSize = 32
	rowSizeAt  = 8
	countAt    = 12
	heapAt     = 16
	totalAt    = 20
	sumAt      = 28
)

// lengthen gives each row extra bytes at its end, as a writer does that knows more fields.
func lengthen(old []byte, extra int) []byte {
	size, count := int(get(old, rowSizeAt)), int(get(old, countAt))
	out := append([]byte{}, old[:headerSize]...)
	for i := range count {
		out = append(out, old[headerSize+i*size:headerSize+(i+1)*size]...)
		for range extra {
			out = append(out, 0xa5)
		}
	}
	out = append(out, old[headerSize+count*size:]...)
	put(out, rowSizeAt, uint32(size+extra))
	put(out, heapAt, uint32(headerSize+count*(size+extra)))
	put(out, totalAt, uint32(len(out)))
	return seal(out)
}

// refused returns frames that a reader must not take, each made from a good one. All but the one about it have the
// right checksum.
func refused(good []byte) map[string]frame {
	size := int(get(good, rowSizeAt))
	const textAt, listAt = headerSize + 72, headerSize + 80
	changes := map[string]struct {
		why    string
		change func([]byte) []byte
	}{
		"magic":    {"the magic is not PKRW", func(b []byte) []byte { b[0] = 'Q'; return seal(b) }},
		"schema":   {"no schema has this id", func(b []byte) []byte { b[4] = 0xff; return seal(b) }},
		"major":    {"the major version is not known", func(b []byte) []byte { b[6] = 9; return seal(b) }},
		"checksum": {"the checksum is another", func(b []byte) []byte { b[headerSize] ^= 1; return b }},
		"cut":      {"bytes are missing at the end", func(b []byte) []byte { return b[:len(b)-1] }},
		"header":   {"it is shorter than a header", func(b []byte) []byte { return b[:headerSize-1] }},
		"no-row":   {"the row size is 0", func(b []byte) []byte { put(b, rowSizeAt, 0); put(b, heapAt, headerSize); return seal(b) }},
		"short-row": {"the rows are shorter than the baseline", func(b []byte) []byte {
			put(b, rowSizeAt, 344)
			put(b, countAt, 1)
			put(b, heapAt, headerSize+344)
			return seal(b)
		}},
		"count": {"the rows do not fit", func(b []byte) []byte { put(b, countAt, math.MaxUint32); return seal(b) }},
		"heap":  {"the heap does not begin where the rows end", func(b []byte) []byte { put(b, heapAt, get(b, heapAt)+8); return seal(b) }},
		"text": {"a text leaves the heap", func(b []byte) []byte {
			put(b, textAt, 1)
			put(b, textAt+4, math.MaxUint32)
			return seal(b)
		}},
		"list": {"a list leaves the heap", func(b []byte) []byte {
			put(b, listAt, math.MaxUint32)
			put(b, listAt+4, math.MaxUint32)
			return seal(b)
		}},
		"shared-list": {"the lists together are longer than the heap", func(b []byte) []byte {
			heap := len(b) - int(get(b, heapAt))
			for i := range 3 {
				put(b, listAt+i*size, 0)
				put(b, listAt+i*size+4, uint32(heap/8))
			}
			return seal(b)
		}},
	}
	out := map[string]frame{}
	for name, c := range changes {
		bytes := c.change(append([]byte{}, good...))
		out[name] = frame{vector{Schema: "flow", Refused: c.why, Rows: []map[string]any{}}, bytes}
	}
	return out
}

func get(b []byte, at int) uint32    { return binary.LittleEndian.Uint32(b[at:]) }
func put(b []byte, at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }

// seal writes the checksum.
func seal(b []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	put(b, sumAt, crc32.Update(crc32.Checksum(b[:sumAt], table), table, b[headerSize:]))
	return b
}
