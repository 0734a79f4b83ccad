package keptbatch

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/carved"
)

const finding = "0190f3c1-0000-8000-8000-000000000001"

// file is a pcap file with packets of these sizes.
func file(sizes ...int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, magic)
	b = append(b, make([]byte, fileHead-4)...)
	for _, n := range sizes {
		b = append(b, make([]byte, 8)...)
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
		b = append(b, make([]byte, n)...)
	}
	return b
}

func good(t *testing.T, pcap []byte, numbers ...uint64) *Packets {
	t.Helper()
	b := &Packets{Finding: finding, Run: "r", Kept: carved.Kept{Matched: len(numbers)}}
	for _, n := range numbers {
		b.Packets = append(b.Packets, carved.KeptPacket{Number: n})
	}
	if err := b.Pack(pcap); err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPacketsTravel(t *testing.T) {
	want := file(60, 1514)
	got, err := good(t, want, 3, 9).Unpack()
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := (&Packets{Finding: finding, Run: "r", Why: Off}).Unpack(); got != nil || err != nil {
		t.Errorf("without packets: %v, %v", got, err)
	}
}

// What a hostile agent may send is refused before anything is kept of it.
func TestRubbishIsRefused(t *testing.T) {
	many := make([]uint64, carved.MaxKeptPackets+1)
	sizes := make([]int, len(many))
	for i := range many {
		many[i] = uint64(i + 1)
	}
	change := func(of func(*Packets)) *Packets {
		b := good(t, file(60), 1)
		of(b)
		return b
	}
	for name, b := range map[string]*Packets{
		"no id":                   change(func(b *Packets) { b.Finding = "../../etc/passwd" }),
		"an id written otherwise": change(func(b *Packets) { b.Finding = strings.ToUpper("0190f3c1-0000-8000-8000-00000000000a") }),
		"no run":                  change(func(b *Packets) { b.Run = "" }),
		"a reason and packets":    change(func(b *Packets) { b.Why = Off }),
		"an unknown reason":       {Finding: finding, Run: "r", Why: "expired"},
		"nothing":                 {Finding: finding, Run: "r"},
		"no compression":          change(func(b *Packets) { b.File = file(60) }),
		"more than is said":       good(t, file(60, 60), 1),
		"fewer than is said":      good(t, file(60), 1, 2),
		"numbers fall":            good(t, file(60, 60), 2, 1),
		"the same number":         good(t, file(60, 60), 2, 2),
		"no number":               good(t, file(60), 0),
		"a number beyond belief":  good(t, file(60), 1<<63),
		"fewer matched":           change(func(b *Packets) { b.Matched = 0 }),
		"too many packets":        good(t, file(sizes...), many...),
		"too many bytes":          good(t, file(carved.MaxKeptBytes), 1),
		"a bomb":                  good(t, file(64<<20), 1),
		"no pcap file":            good(t, []byte("GIF89a, and more than a head has bytes"), 1),
		"a packet cut off":        good(t, file(60)[:80], 1),
		"half a head":             good(t, append(file(60), 1, 2, 3), 1, 2),
	} {
		if got, err := b.Unpack(); err == nil {
			t.Errorf("%s: %d bytes were taken", name, len(got))
		}
	}
}

func FuzzRecords(f *testing.F) {
	f.Add(file(60, 0, 1514))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, ok := records(data); ok && n > len(data)/recordHead {
			t.Errorf("%d packets in %d bytes", n, len(data))
		}
	})
}
