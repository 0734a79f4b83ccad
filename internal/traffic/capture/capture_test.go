package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// got is a packet with its bytes copied.
type got struct {
	Number uint64
	Time   int64
	Link   LinkType
	Length uint32
	Data   string
}

// readAll gives every packet and the error that ended the reading, nil for a clean end.
func readAll(r io.Reader) ([]got, error) {
	c, err := Open(r)
	if err != nil {
		return nil, err
	}
	var out []got
	var p Packet
	for {
		if err := c.Next(&p); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			if again := c.Next(&p); !errors.Is(again, err) {
				return out, errors.New("the error does not stay")
			}
			return out, err
		}
		out = append(out, got{p.Number, p.Time, p.Link, p.Length, string(p.Data)})
	}
}

var orders = map[string]binary.ByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian}

func TestPcap(t *testing.T) {
	for name, order := range orders {
		for unit, magic := range map[int64]uint32{1000: magicMicros, 1: magicNanos} {
			file := pcapFile(order, magic, []byte("first"), nil, []byte("third"))
			want := []got{
				{1, 0, LinkEthernet, 9, "first"},
				{2, 1e9 + unit, LinkEthernet, 4, ""},
				{3, 2e9 + 2*unit, LinkEthernet, 9, "third"},
			}
			have, err := readAll(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Errorf("%s endian, unit %d ns:\n%s", name, unit, diff)
			}
		}
	}
}

func TestPcapng(t *testing.T) {
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			file := ngFile(
				sectionBlock(order),
				interfaceBlock(order, LinkEthernet, 0),
				block(order, 0x0bad, []byte("a block that nobody knows, long enough to be skipped")),
				interfaceBlock(order, LinkRaw, 3, option(order, 1, 'c'), option(order, optionTSResol, 9)),
				enhancedBlock(order, 0, 1_500_000, []byte("micro")),
				enhancedBlock(order, 1, 2_500_000_000, []byte("nanos!")),
				obsoleteBlock(order, 0, 3_000_000, []byte("old")),
				simpleBlock(order, 100, []byte("simple..")),
				sectionBlock(order),
				interfaceBlock(order, LinkNull, 0, option(order, optionTSOffset, offset(order, 10)...)),
				enhancedBlock(order, 0, 1_000_000, []byte("again")),
			)
			want := []got{
				{1, 1.5e9, LinkEthernet, 9, "micro"},
				{2, 2.5e9, LinkRaw, 10, "nanos!"},
				{3, 3e9, LinkEthernet, 7, "old"},
				{4, 3e9, LinkEthernet, 100, "simple.."}, // no time of its own: the packet's before
				{5, 11e9, LinkNull, 9, "again"},
			}
			for reader, r := range map[string]io.Reader{"whole": bytes.NewReader(file), "byte by byte": iotest.OneByteReader(bytes.NewReader(file))} {
				have, err := readAll(r)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, have); diff != "" {
					t.Errorf("%s:\n%s", reader, diff)
				}
			}
		})
	}
}

func offset(order binary.ByteOrder, seconds uint64) []byte {
	b := make([]byte, 8)
	order.PutUint64(b, seconds)
	return b
}

// A packet's bytes must stay as they are until the next call, also when the rest of its block is not in the buffer yet.
func TestDataStaysValidBeforeLongOptions(t *testing.T) {
	order := binary.LittleEndian
	data := bytes.Repeat([]byte{7}, 1000)
	body := enhancedBlock(order, 0, 0, data)
	body = body[8 : len(body)-4]
	long := append(body, bytes.Repeat([]byte{9}, 3*windowSize)...)
	file := ngFile(sectionBlock(order), interfaceBlock(order, LinkEthernet, 0), block(order, blockEnhanced, long),
		enhancedBlock(order, 0, 0, []byte("next")))
	have, err := readAll(iotest.HalfReader(bytes.NewReader(file)))
	if err != nil || len(have) != 2 || have[0].Data != string(data) || have[1].Data != "next" {
		t.Errorf("%d packets, error %v", len(have), err)
	}
}

func TestSnapLengthLimitsSimplePackets(t *testing.T) {
	order := binary.LittleEndian
	file := ngFile(sectionBlock(order), interfaceBlock(order, LinkEthernet, 3), simpleBlock(order, 5, []byte("12345")))
	have, err := readAll(bytes.NewReader(file))
	if err != nil || len(have) != 1 || have[0].Data != "123" || have[0].Length != 5 {
		t.Errorf("%+v, error %v", have, err)
	}
}

func TestCompressed(t *testing.T) {
	file := pcapFile(binary.LittleEndian, magicMicros, []byte("squeezed"))
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	if _, err := zw.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	enc, _ := zstd.NewWriter(nil)
	for name, packed := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(file, nil)} {
		have, err := readAll(bytes.NewReader(packed))
		if err != nil || len(have) != 1 || have[0].Data != "squeezed" {
			t.Errorf("%s: %+v, error %v", name, have, err)
		}
		have, err = readAll(bytes.NewReader(packed[:len(packed)-12]))
		var damaged *DamagedError
		if err == nil || errors.As(err, &damaged) && !damaged.Truncated {
			t.Errorf("%s cut short: %+v, error %v", name, have, err)
		}
	}
}

func TestTruncatedKeepsWhatWasRead(t *testing.T) {
	order := binary.LittleEndian
	files := map[string][]byte{
		"pcap":   pcapFile(order, magicMicros, []byte("first"), []byte("second")),
		"pcapng": ngFile(sectionBlock(order), interfaceBlock(order, LinkEthernet, 0), enhancedBlock(order, 0, 0, []byte("first")), enhancedBlock(order, 0, 0, []byte("second"))),
	}
	for name, file := range files {
		complete, err := readAll(bytes.NewReader(file))
		if err != nil || len(complete) != 2 {
			t.Fatalf("%s: %v", name, err)
		}
		clean := 0
		for n := 1; n < len(file); n++ {
			have, err := readAll(bytes.NewReader(file[:n]))
			var damaged *DamagedError
			var other *NotCaptureError
			switch {
			case err == nil:
				clean++ // cut exactly between two records
			case errors.As(err, &damaged):
				if !damaged.Truncated || damaged.After != uint64(len(have)) || !strings.Contains(err.Error(), "truncated after packet") {
					t.Errorf("%s cut at %d: %v with %d packets", name, n, err, len(have))
				}
			case errors.As(err, &other) && n < 4:
			default:
				t.Errorf("%s cut at %d: %v", name, n, err)
			}
			if !slices.Equal(complete[:len(have)], have) {
				t.Errorf("%s cut at %d: %+v", name, n, have)
			}
		}
		if clean > 4 {
			t.Errorf("%s: %d cuts were not noticed", name, clean)
		}
	}
}

func TestRefusedInputs(t *testing.T) {
	order := binary.LittleEndian
	insane := pcapFile(order, magicMicros, []byte("ok"))
	insane = append(insane, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0)
	head := ngFile(sectionBlock(order), interfaceBlock(order, LinkEthernet, 0))
	ng := func(blocks ...[]byte) []byte { return append(bytes.Clone(head), ngFile(blocks...)...) }
	tests := map[string]struct {
		file    []byte
		packets int
		says    string
	}{
		"empty":                    {nil, 0, "empty file"},
		"text":                     {[]byte("hello, this is no capture"), 0, `not a capture (starts with "hello, this is n"`},
		"three bytes":              {[]byte{1, 2, 3}, 0, "not a capture"},
		"insane record":            {insane, 1, "damaged after packet 1: the next record claims a packet of 2147483647 bytes"},
		"pcap of another version":  {append([]byte{0xd4, 0xc3, 0xb2, 0xa1, 9, 0}, make([]byte, 40)...), 0, "pcap version 9"},
		"block of length 0":        {ng(enhancedBlock(order, 0, 0, nil), make([]byte, 12)), 1, "claims a length of 0"},
		"block of odd length":      {ng([]byte{5, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0}), 0, "claims a length of 13"},
		"interface that is not":    {ng(enhancedBlock(order, 3, 0, nil)), 0, "names interface 3, the section describes 1"},
		"packet beyond its block":  {ng(lie(enhancedBlock(order, 0, 0, []byte("data")), 20, 900)), 0, "a packet of 900 bytes in a block of 36"},
		"insane packet":            {ng(lie(enhancedBlock(order, 0, 0, []byte("data")), 20, 1<<30)), 0, "more than the limit"},
		"short packet block":       {ng(block(order, blockEnhanced, nil)), 0, "claims a length of 12"},
		"short interface block":    {ng(block(order, blockInterface, nil)), 0, "claims a length of 12"},
		"packet before interfaces": {ngFile(sectionBlock(order), simpleBlock(order, 1, []byte("x"))), 0, "before any interface"},
		"mad byte order":           {lie(sectionBlock(order), 8, 42), 0, "byte order mark"},
	}
	for name, test := range tests {
		have, err := readAll(bytes.NewReader(test.file))
		if err == nil || !strings.Contains(err.Error(), test.says) || len(have) != test.packets {
			t.Errorf("%s: %d packets, error %v; want %d and %q", name, len(have), err, test.packets, test.says)
		}
	}
}

// lie overwrites four bytes.
func lie(b []byte, at int, v uint32) []byte {
	b = bytes.Clone(b)
	binary.LittleEndian.PutUint32(b[at:], v)
	return b
}

func TestReadErrorIsPassedOn(t *testing.T) {
	file := pcapFile(binary.LittleEndian, magicMicros, []byte("one"), []byte("two"))
	broken := errors.New("disk on fire")
	_, err := readAll(io.MultiReader(bytes.NewReader(file[:50]), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "after packet 1") {
		t.Errorf("error %v", err)
	}
}

func TestTimeUnits(t *testing.T) {
	order := binary.LittleEndian
	tests := []struct {
		options []byte
		ticks   uint64
		want    int64
	}{
		{nil, 1, 1000},
		{option(order, optionTSResol, 0), 3, 3e9},
		{option(order, optionTSResol, 3), 1500, 1.5e9},
		{option(order, optionTSResol, 9), 7, 7},
		{option(order, optionTSResol, 12), 7_999, 7},
		{option(order, optionTSResol, 30), math.MaxUint64, 0},
		{option(order, optionTSResol, 0x80|1), 3, 1.5e9},
		{option(order, optionTSResol, 0x80|32), 3<<32 | 1<<31, 3.5e9},
		{option(order, optionTSResol, 0x80|63), 1 << 62, 0.5e9},
		{option(order, optionTSResol, 0x80|64), 1 << 63, 0.5e9},
		{option(order, optionTSResol, 0x80|127), math.MaxUint64, 0},
		{option(order, optionTSResol, 0), math.MaxUint64, math.MaxInt64}, // saturates, does not wrap
		{nil, math.MaxUint64, math.MaxInt64},
		{append(option(order, optionTSOffset, offset(order, 5)...), option(order, optionTSResol, 9)...), 1, 5e9 + 1},
		{option(order, optionTSOffset, offset(order, math.MaxInt64)...), 1, math.MaxInt64},
		{option(order, optionTSResol, 9, 9), 1, 1000}, // wrong length: ignored
		{[]byte{9, 0, 200, 0}, 1, 1000},               // breaks off: ignored
	}
	for _, test := range tests {
		unit := readTimeUnit(order, test.options)
		if have := unit.nanoseconds(test.ticks); have != test.want {
			t.Errorf("options %x, %d ticks: %d ns, want %d", test.options, test.ticks, have, test.want)
		}
	}
}
