package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// fill sets every field of the struct to a value that no other field has.
func fill(tb testing.TB, v reflect.Value, seed int) {
	tb.Helper()
	for i := range v.NumField() {
		f, n := v.Field(i), uint64(seed+i+1)
		if v.Type().Field(i).Name == "Tunnel" {
			f.SetString("vxlan") // an enum
			continue
		}
		switch p := f.Addr().Interface().(type) {
		case *time.Time:
			*p = time.Unix(1_700_000_000+int64(n), int64(n)).UTC()
		case *netip.Addr:
			*p = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		case *string:
			*p = fmt.Sprintf("text %d", n)
		case *[]uint64:
			*p = []uint64{n, n + 1, n + 2}
		case *[]string:
			*p = []string{fmt.Sprintf("first %d", n), "", fmt.Sprintf("last %d", n)}
		case *[]byte:
			*p = []byte{byte(n), 0, 255}
		case *map[string]string:
			*p = map[string]string{"": fmt.Sprint(n), "ü": "", "c": "d"}
		case **sdk.Features: // see features_test.go
		case *sdk.Seen:
			fill(tb, f, seed+1000)
		default:
			switch {
			case f.CanUint():
				f.SetUint(n % 200)
			case f.CanInt():
				f.SetInt(-int64(n))
			case f.CanFloat():
				f.SetFloat(float64(n) + 0.25)
			case f.Kind() == reflect.Bool:
				f.SetBool(true)
			default:
				tb.Fatalf("%s has a field %s of type %s that this test cannot fill", v.Type(), v.Type().Field(i).Name, f.Type())
			}
		}
	}
}

func filled(t *testing.T, n int) []sdk.Flow {
	t.Helper()
	flows := make([]sdk.Flow, n)
	for i := range flows {
		fill(t, reflect.ValueOf(&flows[i]).Elem(), i*100)
	}
	return flows
}

func TestNoFieldIsForgotten(t *testing.T) {
	in := filled(t, 3)
	out, err := DecodeFlows(AppendFlows(nil, in), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range in {
		a, b := reflect.ValueOf(in[i]), reflect.ValueOf(out[i])
		for f := range a.NumField() {
			if !reflect.DeepEqual(a.Field(f).Interface(), b.Field(f).Interface()) {
				t.Errorf("flow %d: %s was %v, came back as %v", i, a.Type().Field(f).Name, a.Field(f), b.Field(f))
			}
		}
	}
}

func TestZeroAndExtremeValues(t *testing.T) {
	in := []sdk.Flow{
		{},
		{Src: netip.IPv6Unspecified(), Dst: netip.MustParseAddr("::ffff:10.0.0.1"), Start: time.Unix(0, 0).UTC(),
			ID: math.MaxUint64, FwdLenMin: math.Inf(1), FwdLenMax: math.SmallestNonzeroFloat64},
	}
	out, err := DecodeFlows(AppendFlows(nil, in), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got  %+v\nwant %+v", out, in)
	}
	far := []sdk.Flow{{Start: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC)}}
	out, err = DecodeFlows(AppendFlows(nil, far), nil)
	if err != nil || out[0].Start.Year() != 2262 || out[0].End.Year() != 1677 {
		t.Errorf("times beyond the range became %v and %v, %v", out[0].Start, out[0].End, err)
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	buf := AppendFlows([]byte("before"), filled(t, 2))
	if string(buf[:6]) != "before" {
		t.Fatal("the content of dst was lost")
	}
	if flows, err := DecodeFlows(buf[6:], nil); err != nil || len(flows) != 2 {
		t.Fatalf("%d flows, %v", len(flows), err)
	}
	if n := Count(buf[6:]); n != 2 {
		t.Errorf("Count = %d", n)
	}
	if n := Count(buf); n != 0 {
		t.Errorf("Count of something else = %d", n)
	}
}

func TestNext(t *testing.T) {
	data := AppendFlows(AppendFlows(nil, filled(t, 2)), filled(t, 3))
	for _, want := range []int{2, 3} {
		frame, rest, err := Next(data)
		if err != nil || Count(frame) != want {
			t.Fatalf("%d rows, %v, want %d", Count(frame), err, want)
		}
		data = rest
	}
	for _, bad := range [][]byte{nil, make([]byte, 32), AppendFlows(nil, nil)[:31], AppendFlows(nil, filled(t, 1))[:100]} {
		if _, _, err := Next(bad); !errors.Is(err, ErrFrame) {
			t.Errorf("%d bytes: %v", len(bad), err)
		}
	}
}

func TestMemoryIsUsedAgain(t *testing.T) {
	big, small := AppendFlows(nil, filled(t, 8)), AppendFlows(nil, filled(t, 2))
	into, err := DecodeFlows(big, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeFlows(small, into)
	if err != nil {
		t.Fatal(err)
	}
	if &got[0] != &into[0] || !reflect.DeepEqual(got, filled(t, 2)) {
		t.Error("the memory was not used again, or old content shows through")
	}
	allocs := testing.AllocsPerRun(50, func() {
		if into, err = DecodeFlows(big, into); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 3 {
		t.Errorf("%v allocations to decode 8 flows into used memory", allocs)
	}
}

// reseal makes a changed frame carry the right checksum again.
func reseal(frame []byte) []byte {
	binary.LittleEndian.PutUint32(frame[crcAt:], checksum(frame))
	return frame
}

func TestHostileFrames(t *testing.T) {
	good := AppendFlows(nil, filled(t, 2))
	heap := int(binary.LittleEndian.Uint32(good[16:]))
	change := func(at int, v uint32) []byte {
		frame := bytes.Clone(good)
		binary.LittleEndian.PutUint32(frame[at:], v)
		return reseal(frame)
	}
	wide := make([]byte, MaxFrame+1)
	copy(wide, good)
	shared := bytes.Clone(good) // both rows refer to the whole heap
	for row := range 2 {
		at := headerSize + row*flowLayout.rowSize + 80
		binary.LittleEndian.PutUint32(shared[at:], 0)
		binary.LittleEndian.PutUint32(shared[at+4:], uint32((len(good)-heap)/8))
	}
	flipped := bytes.Clone(good)
	flipped[headerSize] ^= 1
	cases := map[string][]byte{
		"empty":                      nil,
		"shorter than a header":      good[:31],
		"cut":                        good[:len(good)-1],
		"longer":                     append(bytes.Clone(good), 0),
		"magic":                      change(0, 0),
		"schema":                     change(4, 2|1<<16),
		"major":                      change(4, 1|2<<16),
		"row size 0":                 change(8, 0),
		"row size not fitting":       change(8, 360),
		"count":                      change(12, 3),
		"count that overflows":       change(12, math.MaxUint32),
		"heap offset":                change(16, uint32(heap+8)),
		"heap offset behind the end": change(16, uint32(len(good)+8)),
		"total":                      change(20, uint32(len(good)+1)),
		"checksum":                   flipped,
		"string offset":              change(headerSize+72, math.MaxUint32),
		"string length":              change(headerSize+76, math.MaxUint32),
		"list length":                change(headerSize+84, math.MaxUint32),
		"lists that share the heap":  reseal(shared),
		"over the limit":             wide,
	}
	for name, frame := range cases {
		t.Run(name, func(t *testing.T) {
			if flows, err := DecodeFlows(frame, nil); !errors.Is(err, ErrFrame) || flows != nil {
				t.Errorf("got %d flows, error %v", len(flows), err)
			}
		})
	}
}

// A newer writer has longer rows: what this reader does not know is skipped.
func TestRowsOfANewerWriter(t *testing.T) {
	want := filled(t, 3)
	frame := restride(AppendFlows(nil, want), flowLayout.rowSize+24)
	got, err := DecodeFlows(frame, nil)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestRowsShorterThanTheFirstRelease(t *testing.T) {
	frame := restride(AppendFlows(nil, filled(t, 1)), flowLayout.baseline-8)
	if _, err := DecodeFlows(frame, nil); !errors.Is(err, ErrFrame) {
		t.Errorf("got %v", err)
	}
}

func restride(frame []byte, rowSize int) []byte {
	count, heap, size := Count(frame), int(binary.LittleEndian.Uint32(frame[16:])), int(binary.LittleEndian.Uint32(frame[8:]))
	out := bytes.Clone(frame[:headerSize])
	for i := range count {
		row := make([]byte, rowSize)
		copy(row, frame[headerSize+i*size:headerSize+(i+1)*size])
		out = append(out, row...)
	}
	binary.LittleEndian.PutUint32(out[8:], uint32(rowSize))
	binary.LittleEndian.PutUint32(out[16:], uint32(len(out)))
	out = append(out, frame[heap:]...)
	binary.LittleEndian.PutUint32(out[20:], uint32(len(out)))
	return reseal(out)
}

// The golden frame is of the first release, which had neither application protocol nor tunnel. The vectors pin what came later.
func TestGoldenFrame(t *testing.T) {
	flows := filled(t, 2)
	for i := range flows {
		flows[i].App, flows[i].Tunnel, flows[i].TunnelID = "", "", 0
	}
	flows[1].Dst = netip.MustParseAddr("2001:db8::1")
	golden, err := os.ReadFile("testdata/flow-v1.frame")
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeFlows(golden, nil)
	if err != nil || !reflect.DeepEqual(got, flows) {
		t.Errorf("the golden frame decodes to %+v, %v", got, err)
	}
	// What an older program reads of a row is where it was.
	frame := AppendFlows(nil, flows)
	for i := range flows {
		old, row := golden[headerSize+i*flowLayout.baseline:], frame[headerSize+i*flowLayout.rowSize:]
		if !bytes.Equal(old[:flowLayout.baseline], row[:flowLayout.baseline]) {
			t.Errorf("the bytes of row %d changed: older programs could not read it", i)
		}
	}
}

func FuzzDecodeFlows(f *testing.F) {
	f.Add(AppendFlows(nil, nil))
	f.Add(AppendFlows(nil, []sdk.Flow{{ID: 1, CommunityID: "1:x", Packets: []uint64{1, 2}, Src: netip.MustParseAddr("10.0.0.1")}}))
	f.Add(AppendFlows(nil, make([]sdk.Flow, 3)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) >= headerSize {
			frame = reseal(bytes.Clone(frame)) // else nothing gets past the checksum
		}
		flows, err := DecodeFlows(frame, nil)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		once := AppendFlows(nil, flows)
		again, err := DecodeFlows(once, nil)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if !bytes.Equal(once, AppendFlows(nil, again)) {
			t.Fatal("a second round trip changed the frame")
		}
	})
}

func BenchmarkAppendFlows(b *testing.B) {
	for _, version := range []string{"4", "6"} {
		flows := benchFlows()
		if version == "6" {
			for i := range flows {
				flows[i].Src, flows[i].Dst = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
			}
		}
		b.Run("IPv"+version, func(b *testing.B) {
			var buf []byte
			for b.Loop() {
				buf = AppendLocalFlows(buf[:0], flows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(flows)), "ns/flow")
		})
	}
}

func BenchmarkDecodeFlows(b *testing.B) {
	frame := AppendFlows(nil, benchFlows())
	var into []sdk.Flow
	var err error
	for b.Loop() {
		if into, err = DecodeFlows(frame, into); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/BatchProcess, "ns/flow")
}

func BenchmarkFlowChunks(b *testing.B) {
	frame := AppendLocalFlows(nil, benchFlows())
	var chunks FlowChunks
	for b.Loop() {
		if err := chunks.Reset(frame); err != nil {
			b.Fatal(err)
		}
		for {
			flows, err := chunks.Next()
			if err != nil {
				b.Fatal(err)
			}
			if len(flows) == 0 {
				break
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/BatchProcess, "ns/flow")
}

func benchFlows() []sdk.Flow {
	flows := make([]sdk.Flow, BatchProcess)
	for i := range flows {
		flows[i] = sdk.Flow{ID: uint64(i), CommunityID: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=", Src: netip.MustParseAddr("10.0.0.1"),
			Dst: netip.MustParseAddr("10.0.0.2"), Start: time.Unix(1, 0), End: time.Unix(2, 0), Packets: []uint64{1, 2, 3}}
	}
	return flows
}
