package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A small file that grows without end is given up, with the limit named; what is merely compressed well is read.
func TestCompressedBomb(t *testing.T) {
	var plain bytes.Buffer
	head := make([]byte, 24)
	binary.LittleEndian.PutUint32(head, magicMicros)
	binary.LittleEndian.PutUint16(head[4:], 2)
	binary.LittleEndian.PutUint16(head[6:], 4)
	binary.LittleEndian.PutUint32(head[16:], MaxPacket)
	binary.LittleEndian.PutUint32(head[20:], 1)
	plain.Write(head)
	packet := make([]byte, 16+60000)
	binary.LittleEndian.PutUint32(packet[8:], 60000)
	binary.LittleEndian.PutUint32(packet[12:], 60000)
	for range 100 { // 6 MB
		plain.Write(packet)
	}
	var gz bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&gz, gzip.BestCompression)
	if _, err := zw.Write(plain.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	enc, _ := zstd.NewWriter(nil)
	for name, packed := range map[string][]byte{"gzip": gz.Bytes(), "zstd": enc.EncodeAll(plain.Bytes(), nil)} {
		for _, c := range []struct {
			what string
			most limits
			says string // empty: it is read to its end
		}{
			{"as set", ordinary, ""},
			{"in all", limits{plain: 1 << 20, ratio: 1 << 40, from: 1}, "limit of 1048576 bytes"},
			{"ratio", limits{plain: 1 << 40, ratio: 100, from: 1 << 20}, "limit of 100 bytes for each one"},
			{"ratio of what is small", limits{plain: 1 << 40, ratio: 100, from: 1 << 30}, ""},
		} {
			r, err := open(bytes.NewReader(packed), c.most)
			if err != nil {
				t.Fatal(err)
			}
			var p Packet
			for err == nil {
				err = r.Next(&p)
			}
			var bomb *BombError
			var damaged *DamagedError
			switch {
			case c.says == "" && !errors.Is(err, io.EOF):
				t.Errorf("%s, %s: %v", name, c.what, err)
			case c.says != "" && (!errors.As(err, &bomb) || errors.As(err, &damaged) || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%s, %s: got %v, want %q", name, c.what, err, c.says)
			}
		}
	}
}
