package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// someFacts are three records of a kind: two that hold something in every field, and an empty one.
func someFacts[T Fact](tb testing.TB) []T {
	tb.Helper()
	facts := make([]T, 3)
	for i := range 2 {
		fill(tb, reflect.ValueOf(&facts[i]).Elem(), i*100)
	}
	return facts
}

// eachKind runs a test for every kind of facts.
func eachKind(t *testing.T, run map[string]func(t *testing.T)) {
	t.Helper()
	for _, kind := range sdk.FactKinds {
		if run[kind] == nil {
			t.Fatalf("there is no test for %s", kind)
		}
		t.Run(kind, run[kind])
	}
}

func testFacts[T Fact](schema Schema) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		facts := someFacts[T](t)
		frame := AppendFacts([]byte("before"), facts)[6:]
		if got := SchemaOf(frame); got != schema || SchemaOfFacts(got.Facts()) != schema {
			t.Errorf("schema %d of %q, want %d", got, got.Facts(), schema)
		}
		used := someFacts[T](t)
		for name, into := range map[string][]T{"fresh memory": nil, "used memory": used[:1]} {
			got, err := DecodeFacts(frame, into)
			if err != nil {
				t.Fatal(err)
			}
			same(t, name, got, facts)
		}
		local := AppendLocalFacts(nil, facts)
		if _, err := DecodeFacts[T](local, nil); !errors.Is(err, ErrFrame) {
			t.Errorf("a frame without checksum: %v", err)
		}
		var decoder BatchDecoder
		batch, err := decoder.Decode(local)
		if err != nil {
			t.Fatal(err)
		}
		if again := AppendLocalBatch(nil, &batch); !bytes.Equal(again, local) {
			t.Error("a batch gives another frame")
		}
		w := NewFactWriter[T]()
		for i := range facts {
			w.Add(&facts[i])
		}
		if w.Rows() != len(facts) || w.Size() > len(local) || w.Full() {
			t.Errorf("%d rows of %d bytes, want %d of at most %d", w.Rows(), w.Size(), len(facts), len(local))
		}
		got, err := DecodeFacts[T](w.Sealed(), nil)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "written", got, facts)
	}
}

// same compares field by field. An empty list may come back as one that is not nil.
func same[T Fact](t *testing.T, name string, got, want []T) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d facts, want %d", name, len(got), len(want))
	}
	for i := range want {
		a, b := reflect.ValueOf(got[i]), reflect.ValueOf(want[i])
		for f := range a.NumField() {
			x, y := a.Field(f), b.Field(f)
			if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
				continue
			}
			if !reflect.DeepEqual(x.Interface(), y.Interface()) {
				t.Errorf("%s: fact %d: %s is %v, want %v", name, i, a.Type().Field(f).Name, x, y)
			}
		}
	}
}

func TestFacts(t *testing.T) {
	eachKind(t, map[string]func(*testing.T){
		sdk.FactsDNS: testFacts[sdk.DNS](DNS), sdk.FactsTLS: testFacts[sdk.TLS](TLS), sdk.FactsHTTP: testFacts[sdk.HTTP](HTTP),
		sdk.FactsSMB: testFacts[sdk.SMB](SMB), sdk.FactsDHCP: testFacts[sdk.DHCP](DHCP), sdk.FactsARP: testFacts[sdk.ARP](ARP),
		sdk.FactsOT: testFacts[sdk.OT](OT), sdk.FactsFiles: testFacts[sdk.File](Files), sdk.FactsLogins: testFacts[sdk.Login](Logins),
		sdk.FactsMessages: testFacts[sdk.Message](Messages), sdk.FactsContents: testFacts[sdk.Content](Contents),
	})
	if SchemaOfFacts("flows") != 0 || Flows.Facts() != "" || Packets.Facts() != "" || Samples.Facts() != "" {
		t.Error("flows, packets and samples are not facts")
	}
}

func TestFactsAtTheEdge(t *testing.T) {
	in := []sdk.HTTP{
		{RequestLength: math.MinInt64, ResponseLength: -1, ResponseTime: math.Inf(1), RequestHeaders: []string{""}},
		{Seen: sdk.Seen{Flow: math.MaxUint64, Client: netip.IPv6Unspecified(), Server: netip.MustParseAddr("::ffff:1.2.3.4"), FromServer: true},
			ResponseHeaders: slices.Repeat([]string{"a", "", "ü"}, 5000), Target: strings.Repeat("x", 1<<17)},
	}
	got, err := DecodeFacts(AppendFacts(nil, in), make([]sdk.HTTP, 0, 1))
	if err != nil {
		t.Fatal(err)
	}
	same(t, "edge", got, in)
}

// A list of texts is checked as any other reference: its place, its length, and what it refers to.
func TestHostileTextLists(t *testing.T) {
	const answers = 88 // where proto/records/dns.json has them
	good := AppendFacts(nil, []sdk.DNS{{Answers: []string{"one", "two"}}, {Answers: []string{"three"}}})
	heap := int(binary.LittleEndian.Uint32(good[16:]))
	change := func(at int, v uint32) []byte {
		frame := bytes.Clone(good)
		binary.LittleEndian.PutUint32(frame[at:], v)
		return reseal(frame)
	}
	shared := bytes.Clone(good) // both rows have a list of the whole heap
	for row := range 2 {
		at := headerSize + row*dnsLayout.rowSize + answers
		binary.LittleEndian.PutUint32(shared[at:], 0)
		binary.LittleEndian.PutUint32(shared[at+4:], uint32((len(good)-heap)/refSize))
	}
	for name, frame := range map[string][]byte{
		"offset":              change(headerSize+answers, math.MaxUint32),
		"count":               change(headerSize+answers+4, math.MaxUint32),
		"text":                change(heap, math.MaxUint32),
		"length of a text":    change(heap+4, math.MaxUint32),
		"lists that share":    reseal(shared),
		"a schema of no kind": change(4, 14|1<<16),
	} {
		if got, err := DecodeFacts[sdk.DNS](frame, nil); !errors.Is(err, ErrFrame) || got != nil {
			t.Errorf("%s: %d facts, %v", name, len(got), err)
		}
		var d BatchDecoder
		if got, err := d.Decode(frame); !errors.Is(err, ErrFrame) || got.DNS != nil {
			t.Errorf("%s: %d facts of a batch, %v", name, len(got.DNS), err)
		}
	}
	if _, err := DecodeFacts[sdk.DNS](AppendFacts(nil, []sdk.TLS{{}}), nil); !errors.Is(err, ErrFrame) {
		t.Errorf("facts of another kind: %v", err)
	}
}

// Texts that share their bytes must not make a small frame large: a list of a thousand times the same text.
func TestTextsThatShareTheirBytes(t *testing.T) {
	long := strings.Repeat("x", 1000)
	frame := AppendFacts(nil, []sdk.DNS{{Answers: append(slices.Repeat([]string{"y"}, 1000), long)}})
	heap := int(binary.LittleEndian.Uint32(frame[16:]))
	last := binary.LittleEndian.Uint64(frame[heap+1000*refSize:])
	for i := range 1000 {
		binary.LittleEndian.PutUint64(frame[heap+i*refSize:], last)
	}
	var got []sdk.DNS
	n := testing.AllocsPerRun(1, func() {
		var err error
		if got, err = DecodeFacts[sdk.DNS](reseal(frame), nil); err != nil {
			t.Fatal(err)
		}
	})
	if len(got[0].Answers) != 1001 || got[0].Answers[0] != long || n > 10 {
		t.Errorf("%d texts with %v allocations", len(got[0].Answers), n)
	}
}

// Nor must it make one long when it is written out: a list of a thousand times a text of 64 KiB, and a thousand rows with the
// same bytes.
func TestTextsThatShareTheirBytesAreBounded(t *testing.T) {
	long := strings.Repeat("x", 64<<10)
	texts := AppendFacts(nil, []sdk.DNS{{Answers: append(slices.Repeat([]string{"y"}, 1000), long)}})
	heap := int(binary.LittleEndian.Uint32(texts[16:]))
	last := texts[heap+1000*refSize:][:refSize]
	for i := range 1000 {
		copy(texts[heap+i*refSize:], last)
	}
	if got, err := DecodeFacts[sdk.DNS](reseal(texts), nil); !errors.Is(err, ErrFrame) || got != nil {
		t.Errorf("texts: %d facts, %v", len(got), err)
	}
	const begin = 136 // where proto/records/file.json has it
	files := AppendFacts(nil, append(make([]sdk.File, 1000), sdk.File{Begin: []byte(long)}))
	for i := range 1000 {
		copy(files[headerSize+i*fileLayout.rowSize+begin:][:refSize], files[headerSize+1000*fileLayout.rowSize+begin:])
	}
	if got, err := DecodeFacts[sdk.File](reseal(files), nil); !errors.Is(err, ErrFrame) || got != nil {
		t.Errorf("bytes: %d facts, %v", len(got), err)
	}
}

// In brief a fact is the same but for its maps, and costs no memory once there is some.
func TestBriefFacts(t *testing.T) {
	in := []sdk.OT{{Name: "read", Object: "register 7", Value: []byte{1}, Details: map[string]string{"unit": "1"}}, {Name: "write"}}
	frame := AppendFacts(nil, in)
	d := BatchDecoder{Brief: true}
	var got sdk.Batch
	n := testing.AllocsPerRun(10, func() {
		var err error
		if got, err = d.Decode(frame); err != nil {
			t.Fatal(err)
		}
	})
	in[0].Details = nil
	same(t, "brief", got.OT, in)
	if n > 1 {
		t.Errorf("%v allocations", n)
	}
	short := bytes.Clone(frame)
	details := headerSize + 128 // where proto/records/ot.json has them
	binary.LittleEndian.PutUint32(short[details+4:], math.MaxUint32)
	if got, err := d.Decode(short); !errors.Is(err, ErrFrame) || got.OT != nil {
		t.Errorf("%d facts with a map that leaves the frame, %v", len(got.OT), err)
	}
}

// What is borrowed is the same, maps too, and costs no memory once there is some.
func TestBorrowedFacts(t *testing.T) {
	in := []sdk.OT{{Name: "read", Value: []byte{1}, Details: map[string]string{"unit": "1", "": "x"}}, {Name: "write"}, {Details: map[string]string{"a": "b"}}}
	frame := AppendFacts(nil, in)
	messages := []sdk.Message{{Name: "x", Fields: map[string]string{"c": "d"}}}
	other := AppendFacts(nil, messages)
	d := BatchDecoder{Borrow: true}
	decode := func(frame []byte) sdk.Batch {
		got, err := d.Decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range 2 {
		same(t, "borrowed", decode(frame).OT, in)
		same(t, "after it", decode(other).Messages, messages)
	}
	n := testing.AllocsPerRun(10, func() { decode(frame); decode(other) })
	if n > 2 {
		t.Errorf("%v allocations", n)
	}
	for _, left := range d.maps.list[1:] {
		if len(left) > 0 {
			t.Errorf("%v of an earlier frame is kept", left)
		}
	}
	long := map[string]string{}
	for i := range maxEntries + 1 {
		long[fmt.Sprint(i)] = "x"
	}
	many := make([]sdk.OT, maxMaps+2)
	for i := range many {
		many[i].Details = map[string]string{"n": fmt.Sprint(i)}
	}
	many[0].Details = long
	for range 2 {
		got, err := d.Decode(AppendFacts(nil, many))
		if err != nil {
			t.Fatal(err)
		}
		same(t, "many", got.OT, many)
	}
	if len(d.maps.list) != maxMaps || len(d.maps.list[0]) > 1 {
		t.Errorf("%d maps are kept, the first of %d entries", len(d.maps.list), len(d.maps.list[0]))
	}
}

func TestFactWriterIsFull(t *testing.T) {
	w := NewFactWriter[sdk.File]()
	for range BatchFacts {
		if w.Full() {
			t.Fatalf("full with %d small facts", w.Rows())
		}
		w.Add(&sdk.File{Name: "a"})
	}
	if !w.Full() || Count(w.Frame()) != BatchFacts || w.Rows() != 0 || w.Full() {
		t.Error("full comes too late, or stays")
	}
	w.Add(&sdk.File{Begin: make([]byte, FactsBytes)})
	if !w.Full() {
		t.Error("not full with one large fact")
	}
	if n := Count(w.Frame()); n != 1 {
		t.Errorf("%d rows", n)
	}
	if frame := w.Frame(); Count(frame) != 0 || SchemaOf(frame) != Files {
		t.Errorf("nothing was added, and the frame has %d rows", Count(frame))
	}
}

func FuzzDecodeFacts(f *testing.F) {
	f.Add(AppendLocalFacts(nil, someFacts[sdk.DNS](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.TLS](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.HTTP](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.SMB](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.DHCP](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.ARP](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.OT](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.File](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.Login](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.Message](f)))
	f.Add(AppendLocalFacts(nil, someFacts[sdk.Content](f)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, brief, borrow := BatchDecoder{}, BatchDecoder{Brief: true}, BatchDecoder{Borrow: true}
		batch, err := d.Decode(data)
		if _, also := brief.Decode(data); fmt.Sprint(also) != fmt.Sprint(err) {
			t.Fatalf("in brief %v, else %v", also, err)
		}
		borrowed, also := borrow.Decode(data)
		if fmt.Sprint(also) != fmt.Sprint(err) {
			t.Fatalf("borrowed %v, else %v", also, err)
		}
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		once := AppendLocalBatch(nil, &batch)
		if len(once) > MaxFrame || len(once) == 0 { // rows may share texts, which are written once for each; or there are none
			return
		}
		if !bytes.Equal(once, AppendLocalBatch(nil, &borrowed)) {
			t.Fatal("what is borrowed differs")
		}
		again, err := d.Decode(once)
		if err != nil {
			t.Fatalf("decode what was encoded: %v", err)
		}
		if !bytes.Equal(once, AppendLocalBatch(nil, &again)) {
			t.Fatal("a second round trip changed the frame")
		}
	})
}

func benchDNS() []sdk.DNS {
	facts := make([]sdk.DNS, BatchFacts)
	for i := range facts {
		facts[i] = sdk.DNS{Seen: sdk.Seen{Flow: uint64(i), Packet: uint64(i), Time: time.Unix(1, 5), Client: netip.MustParseAddr("10.0.0.1"),
			Server: netip.MustParseAddr("10.0.0.2"), ClientPort: 5000, ServerPort: 53, Proto: sdk.ProtoUDP}, Protocol: "dns", Query: "www.example.com",
			QType: 1, QClass: 1, Answers: []string{"192.0.2.1", "192.0.2.2"}, AnswerTypes: []uint64{1, 1}, AnswerTTLs: []uint64{60, 60},
			AnswerNames: []string{"www.example.com", "www.example.com"}, Response: true}
	}
	return facts
}

func BenchmarkAppendDNS(b *testing.B) {
	facts := benchDNS()
	var buf []byte
	for b.Loop() {
		buf = AppendLocalFacts(buf[:0], facts)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/BatchFacts, "ns/fact")
}

func BenchmarkDecodeDNS(b *testing.B) {
	frame := AppendLocalFacts(nil, benchDNS())
	var d BatchDecoder
	for b.Loop() {
		if _, err := d.Decode(frame); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/BatchFacts, "ns/fact")
}

// A row that a shorter frame leaves as it was would hold on to the frame that it came from.
func TestShorterFramesLeaveNothingBehind(t *testing.T) {
	for _, brief := range []bool{false, true} {
		d := BatchDecoder{Brief: brief}
		if _, err := d.Decode(AppendFacts(nil, []sdk.DNS{{Query: "a"}, {Query: "b"}, {Query: "c"}})); err != nil {
			t.Fatal(err)
		}
		b, err := d.Decode(AppendFacts(nil, []sdk.DNS{{Query: "d"}}))
		if err != nil || len(b.DNS) != 1 || b.DNS[0].Query != "d" {
			t.Fatalf("%+v, %v", b.DNS, err)
		}
		for _, left := range b.DNS[1:cap(b.DNS)] {
			if left.Query != "" {
				t.Errorf("brief %v: %q is kept", brief, left.Query)
			}
		}
	}
}
