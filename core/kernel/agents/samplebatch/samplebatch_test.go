package samplebatch

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/sdk"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var example = Message{Seq: 7, Book: 0x01020304, Known: 1,
	Series: []Series{{Metric: "system.cpu.utilization", Unit: "1", Type: sdk.Gauge, Labels: map[string]string{"cpu": "0", "state": "user"}},
		{Metric: "system.network.io", Unit: "By", Type: sdk.Counter}},
	Rows: []Row{{1, 1_700_000_000_000_000, 0.25}, {2, 1_700_000_000_000_000, 123456}, {0, 1_700_000_000_000_001, -3}, {2, 1_699_999_999_000_000, 1e300}}}

// TestGolden: what was written once must be read for ever.
func TestGolden(t *testing.T) {
	plain := example.plain()
	want, err := os.ReadFile("testdata/example.hex")
	must(t, err)
	if got := hex.EncodeToString(plain); got != strings.TrimSpace(string(want)) {
		t.Errorf("the message is written as\n%s", got)
	}
	raw, err := hex.DecodeString(strings.TrimSpace(string(want)))
	must(t, err)
	got, err := Unpack(compress(t, raw))
	must(t, err)
	if d := cmp.Diff(&example, got); d != "" {
		t.Error(d)
	}
	// A field of tomorrow is passed over.
	later := protowire.AppendString(protowire.AppendTag(raw, 99, protowire.BytesType), "new")
	got, err = Unpack(compress(t, later))
	must(t, err)
	if d := cmp.Diff(&example, got); d != "" {
		t.Error(d)
	}
}

func compress(tb testing.TB, plain []byte) []byte {
	tb.Helper()
	e, err := encoder()
	if err != nil {
		tb.Fatal(err)
	}
	return e.EncodeAll(plain, nil)
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	m := Message{Epoch: "e", Series: []Series{{Metric: "m", Type: sdk.Gauge}}}
	for i, v := range []float64{0, math.Copysign(0, -1), 1, -1, 0.1, 0.01, 0.001, 8313.505, 1024, -4096, 1024 * (1 << 43), -12.34, 42444.33, 1.0 / 3, 1 << 53, 1<<53 - 1, -1 << 53, 1<<53 + 2, math.MaxFloat64, math.SmallestNonzeroFloat64,
		math.Inf(1), math.Inf(-1), math.NaN(), 1e18, -1e19} {
		m.Rows = append(m.Rows, Row{0, int64(i) * math.MaxInt32 * 1000, v})
	}
	m.Rows = append(m.Rows, Row{0, math.MinInt64, 1}, Row{0, math.MaxInt64, 2})
	body, err := m.Pack()
	must(t, err)
	got, err := Unpack(body)
	must(t, err)
	for i, r := range got.Rows {
		if want := m.Rows[i]; r.Micros != want.Micros || math.Float64bits(r.Value) != math.Float64bits(want.Value) {
			t.Errorf("%v is %v", want, r)
		}
	}
	if len(got.Rows) != len(m.Rows) {
		t.Errorf("%d rows", len(got.Rows))
	}
}

func TestHostileMessages(t *testing.T) {
	field := func(n protowire.Number, b []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), b)
	}
	known := func(n uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(nil, fieldKnown, protowire.VarintType), n)
	}
	rows := func(n int) []byte {
		return slices.Concat(known(1), field(fieldWhich, append([]byte{0}, bytes.Repeat([]byte{4}, n-1)...)), field(fieldTimes, make([]byte, n)), field(fieldWhole, make([]byte, n)))
	}
	for name, c := range map[string]struct {
		plain []byte
		want  string
	}{
		"half a field":                {[]byte{0x0a, 200}, "no protobuf"},
		"a series that is not known":  {slices.Concat(known(3), field(fieldWhich, []byte{24}), field(fieldTimes, []byte{0}), field(fieldWhole, []byte{0})), "not in the book"},
		"a number below none":         {slices.Concat(known(3), field(fieldWhich, []byte{4}), field(fieldTimes, []byte{0}), field(fieldWhole, []byte{0})), "not in the book"},
		"no time":                     {slices.Concat(known(3), field(fieldWhich, []byte{0})), "no time"},
		"no whole value":              {slices.Concat(known(3), field(fieldWhich, []byte{0}), field(fieldTimes, []byte{0})), "no value"},
		"no value":                    {slices.Concat(known(3), field(fieldWhich, []byte{2}), field(fieldTimes, []byte{0}), field(fieldReal, make([]byte, 7))), "no value"},
		"more values than samples":    {slices.Concat(known(3), field(fieldWhole, []byte{0})), "more times or values"},
		"too many samples":            {rows(MaxRows + 1), fmt.Sprint(MaxRows)},
		"too large a book":            {known(MaxSeries + 1), fmt.Sprint(MaxSeries)},
		"a book that grows too large": {slices.Concat(known(MaxSeries-1), field(fieldSeries, nil), field(fieldSeries, nil)), fmt.Sprint(MaxSeries)},
		"a book that is said late":    {slices.Concat(field(fieldSeries, nil), known(MaxSeries)), fmt.Sprint(MaxSeries)},
		"a long text":                 {field(fieldSeries, field(seriesMetric, make([]byte, maxText+1))), "at most 1024"},
		"half a label":                {field(fieldSeries, field(seriesLabels, []byte("a"))), "has no value"},
		"too many labels":             {field(fieldSeries, bytes.Repeat(field(seriesLabels, []byte("a")), 2*maxLabels+1)), "at most 32 labels"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Unpack(compress(t, c.plain))
			var said *Error
			if !errors.As(err, &said) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestABombIsNotUnpacked(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	must(t, err)
	bomb := e.EncodeAll(make([]byte, 64<<20), nil)
	var said *Error
	if _, err := PlainSize(bomb); !errors.As(err, &said) {
		t.Errorf("%d bytes that become 64 MB: %v", len(bomb), err)
	}
	if _, err := Unpack(bomb); !errors.As(err, &said) {
		t.Errorf("%v", err)
	}
	var stream bytes.Buffer // says not how long it is
	w, err := zstd.NewWriter(&stream)
	must(t, err)
	for range 64 {
		_, err = w.Write(make([]byte, 1<<20))
		must(t, err)
	}
	must(t, w.Close())
	for name, body := range map[string][]byte{"a stream": stream.Bytes(), "nothing": nil, "no zstd": []byte("hello, hello, hello")} {
		if _, err := PlainSize(body); !errors.As(err, &said) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Unpack(body); len(body) > 0 && !errors.As(err, &said) {
			t.Errorf("%s: %v", name, err)
		}
	}
	honest, err := example.Pack()
	must(t, err)
	if _, err := Unpack(slices.Concat(honest, honest)); !errors.As(err, &said) {
		t.Errorf("a second frame behind the one that says how long it is: %v", err)
	}
	if n, err := PlainSize(honest); err != nil || n != int64(len(example.plain())) {
		t.Errorf("%d, %v", n, err)
	}
}

func TestTwoBooksAgree(t *testing.T) {
	now := time.Now()
	sample := func(metric string, v float64) sdk.Sample {
		return sdk.Sample{Metric: metric, Type: sdk.Gauge, Labels: map[string]string{"a": metric}, Time: now, Value: v}
	}
	w := NewWriter()
	books := Books[string]{Most: 5}
	made := 0
	send := func(agent string, m *Message) (metrics []string, ok bool) {
		t.Helper()
		body, err := m.Pack()
		must(t, err)
		got, err := Unpack(body)
		must(t, err)
		epoch, series, ok := books.Read(agent, got, now, func(s Series) (string, bool) { made++; return s.Metric + s.Labels["a"], true })
		now = now.Add(time.Second)
		if ok && epoch != "e" && epoch != "e2" {
			t.Errorf("the epoch is %q", epoch)
		}
		for _, r := range got.Rows {
			if ok {
				metrics = append(metrics, series[r.Series])
			}
		}
		return metrics, ok
	}
	want := func(agent string, m *Message, names ...string) {
		t.Helper()
		got, ok := send(agent, m)
		if !slices.Equal(got, names) || ok != (names != nil) {
			t.Errorf("got %v, %t, want %v", got, ok, names)
		}
	}
	first := w.Message("e", 1, []sdk.Sample{sample("x", 1), sample("y", 2)})
	want("one", first, "xx", "yy")
	// The answer is lost: the same is sent again and nothing is made twice.
	want("one", w.Message("e", 1, []sdk.Sample{sample("x", 1), sample("y", 2)}), "xx", "yy")
	w.Told(first)
	second := w.Message("e", 2, []sdk.Sample{sample("y", 2), sample("z", 3), sample("x", 1)})
	if len(second.Series) != 1 || second.Known != 2 {
		t.Errorf("what the server knows is sent again: %+v", second)
	}
	want("one", second, "yy", "zz", "xx")
	if made != 5 {
		t.Errorf("%d series were made", made)
	}
	// Another agent's numbers mean nothing here, and a server that was started anew knows none.
	want("two", second)
	books.drop("one")
	w.Told(second)
	third := w.Message("e", 3, []sdk.Sample{sample("z", 3)})
	want("one", third)
	w.Forget()
	want("one", w.Message("e", 3, []sdk.Sample{sample("z", 3)}), "zz")
	// A new book of the same agent takes the place of the old; a third agent's makes the oldest go.
	other := NewWriter()
	want("one", other.Message("e2", 1, []sdk.Sample{sample("q", 1)}), "qq")
	want("two", NewWriter().Message("e", 1, []sdk.Sample{sample("a", 1), sample("b", 1), sample("c", 1), sample("d", 1)}), "aa", "bb", "cc", "dd")
	want("three", NewWriter().Message("e", 1, []sdk.Sample{sample("r", 1)}), "rr")
	if books.books["one"] != nil || books.held != 5 {
		t.Errorf("%d series are held of %d agents", books.held, len(books.books))
	}
}

// A series that a quota kept out is tried again: its agent would be refused until it starts anew otherwise.
func TestWhatCouldNotBeAddedIsTriedAgain(t *testing.T) {
	now, full := time.Now(), true
	w := NewWriter()
	books := Books[string]{Most: 5}
	send := func() (got string, ok bool) {
		t.Helper()
		m := w.Message("e", 1, []sdk.Sample{{Metric: "x", Type: sdk.Gauge, Time: now, Value: 1}})
		_, series, ok := books.Read("one", m, now, func(s Series) (string, bool) {
			if full {
				return "", false
			}
			return s.Metric, true
		})
		if !ok {
			w.Forget()
			return "", false
		}
		w.Told(m)
		return series[0], true
	}
	for range 2 {
		if got, ok := send(); got != "" || !ok {
			t.Errorf("%q, %t, want a series that nobody knows", got, ok)
		}
	}
	full = false
	now = now.Add(tryAgain + time.Second)
	if _, ok := send(); ok {
		t.Error("the agent is not asked to describe its series again")
	}
	if got, ok := send(); got != "x" || !ok {
		t.Errorf("%q, %t once there is room", got, ok)
	}
}

func TestABookIsBegunAnewBeforeItIsTooLarge(t *testing.T) {
	w := NewWriter()
	id := w.book
	for n := range MaxSeries/1000 + 1 {
		var list []sdk.Sample
		for i := range 1000 {
			list = append(list, sdk.Sample{Metric: fmt.Sprint(n, " ", i), Type: sdk.Gauge, Time: time.Unix(1, 0)})
		}
		m := w.Message("e", uint64(n+1), list)
		if m.Known+len(m.Series) > MaxSeries {
			t.Fatalf("%d series", m.Known+len(m.Series))
		}
		w.Told(m)
	}
	if w.book == id || len(w.series) != 1000 {
		t.Errorf("%d series", len(w.series))
	}
}

// TestSizeOfRealSamples measures what a host's samples take, of which testdata has some minutes.
func TestSizeOfRealSamples(t *testing.T) {
	raw, err := os.ReadFile("testdata/host.json")
	must(t, err)
	var batches [][]sdk.Sample
	must(t, json.Unmarshal(raw, &batches))
	w := NewWriter()
	var all, large struct{ bytes, rows int }
	for i, samples := range batches {
		m := w.Message("0192f0c1a2b37cccb7d1a2b3c4d5e6f7", uint64(i+1), samples)
		body, err := m.Pack()
		must(t, err)
		got, err := Unpack(body)
		must(t, err)
		if len(got.Rows) != len(samples) || got.Rows[0].Value != samples[0].Value {
			t.Fatalf("batch %d: %d samples", i, len(got.Rows))
		}
		w.Told(m)
		if len(m.Series) == 0 { // the book is complete
			all.bytes, all.rows = all.bytes+len(body), all.rows+len(samples)
			if len(samples) > 50 {
				large.bytes, large.rows = large.bytes+len(body), large.rows+len(samples)
			}
		}
	}
	each, host := float64(all.bytes)/float64(all.rows), float64(large.bytes)/float64(large.rows)
	t.Logf("%.2f bytes a sample of the host collector, %.2f with the small batches of what the agent says of itself", host, each)
	if host > 6 || each > 6.5 {
		t.Error("a sample takes too many bytes")
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(example.plain())
	f.Add([]byte{0x0a, 200})
	f.Fuzz(func(t *testing.T, plain []byte) {
		m, err := Unpack(compress(t, plain))
		if err != nil {
			var said *Error
			if !errors.As(err, &said) {
				t.Fatal(err)
			}
			return
		}
		again, err := Unpack(compress(t, m.plain()))
		if err != nil || len(again.Rows) != len(m.Rows) || len(again.Series) != len(m.Series) {
			t.Fatalf("%v: %+v is %+v", err, m, again)
		}
	})
}
