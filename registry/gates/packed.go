package gates

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
)

// packedPickle looks into what joblib packs: the first bytes are enough. xz is not unpacked here and not a format that a
// release needs, so its content counts as unknown.
func packedPickle(data []byte) string {
	var r io.Reader
	var err error
	switch data[0] {
	case 0x1f:
		r, err = gzip.NewReader(bytes.NewReader(data))
	case 0x78:
		r, err = zlib.NewReader(bytes.NewReader(data))
	default:
		return ""
	}
	if err != nil {
		return ""
	}
	head := make([]byte, 64)
	n, _ := io.ReadFull(r, head) // a short or broken stream is looked at as far as it goes
	if head = head[:n]; n > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 && pickleOpcode(head[2:]) {
		return "a packed Python pickle (joblib)"
	}
	return ""
}
