package carve

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/kept"
	"github.com/picketwatch/picket/internal/traffic/worker"
)

// keep keeps n packets of size bytes; the flow of packet number i is flow(i).
func keep(n, size int, flow func(i uint64) uint64) []byte {
	mem := make([]byte, 64*kept.BlockSize)
	w := kept.NewWriter(mem)
	for i := uint64(1); i <= uint64(n); i++ {
		p := &capture.Packet{Number: i, Time: int64(i), Link: capture.LinkEthernet, Length: uint32(size), Data: bytes.Repeat([]byte{byte(i)}, size)}
		_ = w.Packet(p, &decode.Packet{})
		if id := flow(i); id > 0 {
			_ = w.Member(i, id, 1, app.Dir(i%2))
		}
	}
	w.Flush()
	return mem
}

func takeKept(t *testing.T, mem []byte, e carved.Evidence) (k carved.Kept, file []byte) {
	t.Helper()
	var out bytes.Buffer
	if err := RunKept(mem, &out, e); err != nil {
		t.Fatal(err)
	}
	var pieces [][]byte
	for b := out.Bytes(); len(b) > 0; {
		size := int(binary.LittleEndian.Uint32(b))
		if b[4] == worker.KindPiece {
			pieces = append(pieces, b[5:5+size])
		}
		b = b[5+size:]
	}
	if err := json.Unmarshal(pieces[0], &k); err != nil {
		t.Fatal(err)
	}
	file = bytes.Join(pieces[1:], nil)
	if len(file) > carved.MaxKeptBytes {
		t.Errorf("a file of %d bytes", len(file))
	}
	var p capture.Packet
	if len(file) == 0 {
		return k, nil
	}
	r, err := capture.Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		err := r.Next(&p)
		if errors.Is(err, io.EOF) && i == len(k.Packets) {
			return k, file
		}
		if err != nil || i >= len(k.Packets) || p.Data[0] != byte(k.Packets[i].Number) || p.Time != int64(k.Packets[i].Number) {
			t.Fatalf("packet %d of the file: %v, %+v", i, err, k.Packets)
		}
	}
}

func TestPacketsOfAFinding(t *testing.T) {
	mem := keep(100, 60, func(i uint64) uint64 { return i % 10 })
	k, _ := takeKept(t, mem, carved.Evidence{Flows: []uint64{3, 4}, Numbers: []uint64{1, 3, 50, 500}})
	if len(k.Packets) != 22 || k.Matched != 22 || k.Missing != 1 {
		t.Fatalf("%d packets, %+v", len(k.Packets), k)
	}
	if p := k.Packets[0]; p.Number != 1 || p.Flow != 1 || p.Backward != (app.Dir(1) == app.Server) {
		t.Errorf("%+v", p)
	}
	if k, file := takeKept(t, mem, carved.Evidence{Flows: []uint64{77}}); file != nil || len(k.Packets) != 0 || k.Packets == nil {
		t.Errorf("of a flow that is not there: %+v", k)
	}
}

// Of too many packets the named ones go before others, and of both the first and the last are taken.
func TestTooManyPacketsOfAFinding(t *testing.T) {
	mem := keep(9000, 60, func(uint64) uint64 { return 1 })
	k, _ := takeKept(t, mem, carved.Evidence{Flows: []uint64{1}, Numbers: []uint64{4500}})
	if len(k.Packets) != carved.MaxKeptPackets || k.Matched != 9000 || k.Packets[0].Number != 1 || k.Packets[len(k.Packets)-1].Number != 9000 {
		t.Errorf("%d of %d, from %d to %d", len(k.Packets), k.Matched, k.Packets[0].Number, k.Packets[len(k.Packets)-1].Number)
	}
	if p := k.Packets[1000]; p.Number != 4500 {
		t.Errorf("the packet that is named is not in the middle: %+v", p)
	}
	mem = keep(3000, 1400, func(uint64) uint64 { return 1 })
	k, file := takeKept(t, mem, carved.Evidence{Flows: []uint64{1}})
	if len(file) < carved.MaxKeptBytes-2000 || k.Packets[0].Number != 1 || k.Packets[len(k.Packets)-1].Number != 3000 {
		t.Errorf("%d bytes, from %d to %d", len(file), k.Packets[0].Number, k.Packets[len(k.Packets)-1].Number)
	}
}

func TestTheEndsOfAList(t *testing.T) {
	var l ends
	const all = 2*carved.MaxKeptPackets + 777
	for i := range uint64(all) {
		l.add(candidate{number: i})
	}
	var got []uint64
	for x := range l.fromBothEnds {
		if got = append(got, x.number); len(got) == 4 {
			break
		}
	}
	if got[0] != 0 || got[1] != all-1 || got[2] != 1 || got[3] != all-2 {
		t.Errorf("got %v", got)
	}
}
