package gates

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// packing is a way to pack one file, by the bytes that it begins with. unpack is nil for what is not looked into here.
type packing struct {
	name, magic string
	unpack      func(io.Reader) (io.Reader, error)
}

// packings are what joblib and data sets use. Of each the beginning is unpacked, which bounds what a bomb can do.
var packings = []packing{
	{"gzip", "\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{"zlib", "\x78\x01", unzlib}, {"zlib", "\x78\x5e", unzlib}, {"zlib", "\x78\x9c", unzlib}, {"zlib", "\x78\xda", unzlib},
	{"bzip2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{"zstd", "\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) {
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderLowmem(true))
	}},
	{"xz", "\xfd7zXZ\x00", nil}, {"lz4", "\x04\x22\x4d\x18", nil},
}

// lzma has no magic of its own: the usual properties, the size of a dictionary, and an unknown length.
var lzma = packing{name: "lzma"}

func isLZMA(data []byte) bool {
	return bytes.HasPrefix(data, []byte("\x5d\x00\x00")) && len(data) > 13 && bytes.Equal(data[5:13], bytes.Repeat([]byte{0xff}, 8))
}

func unzlib(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

func packingOf(data []byte) *packing {
	for i := range packings {
		if strings.HasPrefix(string(data[:min(len(data), 8)]), packings[i].magic) {
			return &packings[i]
		}
	}
	if isLZMA(data) {
		return &lzma
	}
	return nil
}

// packedPickle looks into what is packed: the first bytes are enough.
func packedPickle(data []byte) string {
	p := packingOf(data)
	if p == nil || p.unpack == nil {
		return ""
	}
	r, err := p.unpack(bytes.NewReader(data))
	if err != nil {
		return ""
	}
	if z, ok := r.(*zstd.Decoder); ok {
		defer z.Close()
	}
	head := make([]byte, 64)
	n, _ := io.ReadFull(r, head) // a short or broken stream is looked at as far as it goes
	if head = head[:n]; n > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && pickleOpcode(head[2:]) {
		return "a packed Python pickle (joblib)"
	}
	return ""
}

// sealed names what data is packed with when that is not looked into, "" otherwise.
func sealed(data []byte) string {
	if p := packingOf(data); p != nil && p.unpack == nil {
		return p.name
	}
	return ""
}

// notLookedInto says what to do about what is sealed.
const notLookedInto = "it is packed with %s, into which this registry does not look: hand it in as it is, or packed with gzip, bzip2, zstd or zip"
