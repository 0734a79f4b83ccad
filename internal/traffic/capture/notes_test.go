package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func namesBlock(order binary.ByteOrder, records ...[]byte) []byte {
	return block(order, blockNames, bytes.Join(append(records, option(order, nameEnd)), nil))
}

func secretBlock(order binary.ByteOrder, kind uint32, data []byte) []byte {
	var b bytes.Buffer
	put32(&b, order, kind, uint32(len(data)))
	b.Write(data)
	return block(order, blockSecrets, b.Bytes())
}

func statisticsBlock(order binary.ByteOrder, iface uint32, options ...[]byte) []byte {
	var b bytes.Buffer
	put32(&b, order, iface, 0, 0)
	for _, o := range options {
		b.Write(o)
	}
	b.Write(option(order, optionEnd))
	return block(order, blockStatistics, b.Bytes())
}

// readNotes reads to the end, whatever that is.
func readNotes(t *testing.T, file []byte) (packets uint64, n Notes) {
	t.Helper()
	r, err := Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var p Packet
	for r.Next(&p) == nil {
		packets = p.Number
	}
	return packets, r.Notes()
}

// A file whose second section has the other byte order: packets, names, secrets and counters of both.
func TestSectionsOfBothByteOrders(t *testing.T) {
	section := func(order binary.ByteOrder, host byte) []byte {
		return ngFile(
			sectionBlock(order),
			interfaceBlock(order, LinkEthernet, 0),
			interfaceBlock(order, LinkRaw, 0, option(order, optionTSResol, 9)),
			namesBlock(order, option(order, nameIPv4, append([]byte{10, 0, 0, host}, "first\x00second\x00"...)...),
				option(order, nameIPv6, append(make([]byte, 15), append([]byte{host}, "six\x00"...)...)...)),
			secretBlock(order, 0x544c534b, []byte("CLIENT_RANDOM 00 11")),
			enhancedBlock(order, 0, 1, []byte("a")),
			enhancedBlock(order, 1, 1, []byte("b")),
			statisticsBlock(order, 0, option(order, optionInterfaceDrops, offset(order, 1)...)),
			statisticsBlock(order, 0, option(order, optionInterfaceDrops, offset(order, 5)...), option(order, optionSystemDrops, offset(order, 2)...)),
			statisticsBlock(order, 1, option(order, 4, offset(order, 99)...)), // received only
			statisticsBlock(order, 9, option(order, optionInterfaceDrops, offset(order, 99)...)),
			block(order, blockStatistics, []byte("short")),
		)
	}
	packets, have := readNotes(t, append(section(binary.BigEndian, 1), section(binary.LittleEndian, 2)...))
	var want Notes
	for _, host := range []string{"1", "2"} {
		v4, v6 := netip.MustParseAddr("10.0.0."+host), netip.MustParseAddr("::"+host)
		want.Names = append(want.Names, Name{v4, "first"}, Name{v4, "second"}, Name{v6, "six"})
		want.Secrets = append(want.Secrets, Secret{0x544c534b, []byte("CLIENT_RANDOM 00 11")})
	}
	want.Dropped = 2 * 7
	if diff := cmp.Diff(want, have, cmpopts.EquateComparable(netip.Addr{})); packets != 4 || diff != "" {
		t.Errorf("%d packets\n%s", packets, diff)
	}
}

func TestDropsInOldPackets(t *testing.T) {
	order := binary.LittleEndian
	drops := func(n uint32) []byte { return lie(obsoleteBlock(order, 0, 1, []byte("x")), 8, n<<16) }
	packets, n := readNotes(t, ngFile(sectionBlock(order), interfaceBlock(order, LinkRaw, 0), drops(3), drops(unknownDropped), drops(4)))
	if packets != 3 || n.Dropped != 7 {
		t.Errorf("%d packets, %d dropped", packets, n.Dropped)
	}
}

func TestNotesAreBounded(t *testing.T) {
	order := binary.LittleEndian
	file := ngFile(sectionBlock(order), interfaceBlock(order, LinkRaw, 0))
	for range 40 {
		file = append(file, secretBlock(order, 1, make([]byte, 200<<10))...)
	}
	file = append(file, secretBlock(order, 1, make([]byte, 3*windowSize))...) // longer than any window
	file = append(file, lie(secretBlock(order, 1, []byte("1234")), 12, 1<<31)...)
	file = append(file, enhancedBlock(order, 0, 1, []byte("still read"))...)
	packets, n := readNotes(t, file)
	total := 0
	for _, s := range n.Secrets {
		total += len(s.Data)
	}
	if packets != 1 || total > maxNoteBytes || len(n.Secrets) != 20 || n.LeftOut != 22 {
		t.Errorf("%d packets, %d bytes in %d secrets, %d left out", packets, total, len(n.Secrets), n.LeftOut)
	}
	many := bytes.Repeat([]byte("x\x00"), 30_000)
	file = ngFile(sectionBlock(order))
	for range 4 {
		file = append(file, namesBlock(order, option(order, nameIPv4, append([]byte{10, 0, 0, 1}, many...)...))...)
	}
	long := append([]byte{10, 0, 0, 1}, strings.Repeat("y", 300)+"\xff"...)
	if _, n = readNotes(t, append(ngFile(sectionBlock(order), namesBlock(order, option(order, nameIPv4, long...))), file...)); len(n.Names) != maxNames || n.LeftOut == 0 || len(n.Names[0].Name) != maxNameLength {
		t.Errorf("%d names, %d left out, the first has %d bytes", len(n.Names), n.LeftOut, len(n.Names[0].Name))
	}
}

func TestModifiedPcap(t *testing.T) {
	for name, order := range orders {
		var b bytes.Buffer
		put32(&b, order, magicModified)
		put16(&b, order, 2, 4)
		put32(&b, order, 0, 0, 65535, 1)
		for i, data := range []string{"one", "two"} {
			put32(&b, order, uint32(i), 5, 3, 60, 2)
			put16(&b, order, 0x0800, 0)
			b.WriteString(data)
		}
		have, err := readAll(&b)
		want := []got{{1, 5000, LinkEthernet, 60, "one"}, {2, 1e9 + 5000, LinkEthernet, 60, "two"}}
		if diff := cmp.Diff(want, have); err != nil || diff != "" {
			t.Errorf("%s endian: %v\n%s", name, err, diff)
		}
	}
}

// Files that were written one after the other are refused where the second begins, except that sections of pcapng may
// follow each other.
func TestJoinedFiles(t *testing.T) {
	kinds := map[string][]byte{}
	for name, order := range orders {
		kinds["pcap, "+name] = pcapFile(order, magicMicros, []byte("one"))
		kinds["nanoseconds, "+name] = pcapFile(order, magicNanos, []byte("one"))
		kinds["pcapng, "+name] = ngFile(sectionBlock(order), interfaceBlock(order, LinkEthernet, 0), enhancedBlock(order, 0, 1, []byte("one")))
	}
	for first, a := range kinds {
		for second, b := range kinds {
			have, err := readAll(bytes.NewReader(append(bytes.Clone(a), b...)))
			if strings.HasPrefix(first, "pcapng") && strings.HasPrefix(second, "pcapng") {
				if err != nil || len(have) != 2 {
					t.Errorf("%s and %s: %d packets, error %v", first, second, len(have), err)
				}
				continue
			}
			if err == nil || len(have) != 1 || !strings.Contains(err.Error(), "after packet 1: another capture begins here") {
				t.Errorf("%s and %s: %d packets, error %v", first, second, len(have), err)
			}
		}
	}
}

// A compressed stream that breaks gives what came before; an input that cannot be read is another matter.
func TestBrokenCompression(t *testing.T) {
	var packets [][]byte
	for i := range 3000 {
		packets = append(packets, fmt.Appendf(nil, "packet %d %x", i, i*i*7919))
	}
	file := pcapFile(binary.LittleEndian, magicMicros, packets...)
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	if _, err := zw.Write(file); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	enc, _ := zstd.NewWriter(nil, zstd.WithEncoderCRC(true), zstd.WithWindowSize(16<<10))
	for name, packed := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(file, nil)} {
		for what, broken := range map[string][]byte{
			"cut":    packed[:len(packed)*3/4],
			"wrong":  flip(packed, len(packed)/2), // what comes out may be wrong before the stream says so
			"header": packed[:5],
		} {
			have, err := readAll(bytes.NewReader(broken))
			var damaged *DamagedError
			if !errors.As(err, &damaged) || damaged.After != uint64(len(have)) || what != "wrong" && !strings.Contains(err.Error(), name+" stream ends") {
				t.Errorf("%s, %s: %d packets, error %v", name, what, len(have), err)
			}
		}
		onFire := errors.New("disk on fire")
		_, err := readAll(io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), failing{onFire}))
		var damaged *DamagedError
		if !errors.Is(err, onFire) || errors.As(err, &damaged) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 0xff
	return b
}

// A pipe cannot be sought, and gives its bytes when it pleases.
func TestPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	go func() {
		defer w.Close()
		file := pcapFile(binary.BigEndian, magicNanos, []byte("one"), bytes.Repeat([]byte{7}, 200_000), []byte("three"))
		for len(file) > 0 {
			n := min(len(file), 4093)
			if _, err := w.Write(file[:n]); err != nil {
				return
			}
			file = file[n:]
		}
	}()
	have, err := readAll(r)
	if err != nil || len(have) != 3 || have[2].Data != "three" {
		t.Errorf("%d packets, error %v", len(have), err)
	}
}
