package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// check reads an input to its end and holds the reader to its promises.
func check(t *testing.T, input []byte) {
	have, err := readAll(bytes.NewReader(input))
	if r, err := Open(bytes.NewReader(input)); err == nil {
		var p Packet
		for r.Next(&p) == nil {
			continue
		}
		kept := 0
		notes := r.Notes()
		for _, s := range notes.Secrets {
			kept += len(s.Data)
		}
		if kept > maxNoteBytes || len(notes.Names) > maxNames {
			t.Fatalf("%d names, %d bytes of secrets", len(notes.Names), kept)
		}
	}
	total := 0
	for i, p := range have {
		total += len(p.Data)
		if p.Number != uint64(i+1) || len(p.Data) > MaxPacket || int(p.Length) < len(p.Data) {
			t.Fatalf("packet %d: number %d, %d of %d bytes", i+1, p.Number, len(p.Data), p.Length)
		}
	}
	if total > len(input) && !compressed(input) {
		t.Fatalf("%d bytes of packets from %d bytes of input", total, len(input))
	}
	var damaged *DamagedError
	if errors.As(err, &damaged) && damaged.After != uint64(len(have)) {
		t.Fatalf("%v, but %d packets were delivered", err, len(have))
	}
}

func compressed(input []byte) bool {
	return len(input) > 3 && (input[0] == 0x1f || binary.LittleEndian.Uint32(input) == 0xfd2fb528)
}

func FuzzPcap(f *testing.F) {
	for _, order := range orders {
		f.Add(pcapFile(order, magicModified, []byte("first, longer than eight"), []byte("second")))
		f.Add(pcapFile(order, magicMicros, []byte("first"), []byte("second")))
		f.Add(pcapFile(order, magicNanos, nil))
	}
	f.Fuzz(check)
}

func FuzzPcapng(f *testing.F) {
	for _, order := range orders {
		f.Add(ngFile(sectionBlock(order), interfaceBlock(order, LinkRaw, 9, option(order, optionTSResol, 9)),
			enhancedBlock(order, 0, 99, []byte("packet")), simpleBlock(order, 4, []byte("four")), obsoleteBlock(order, 0, 1, nil)))
		f.Add(ngFile(sectionBlock(order), interfaceBlock(order, LinkRaw, 9), namesBlock(order, option(order, nameIPv4, []byte("\x0a\x00\x00\x01name\x00")...)),
			secretBlock(order, 1, []byte("key")), statisticsBlock(order, 0, option(order, optionSystemDrops, offset(order, 5)...))))
	}
	f.Fuzz(check)
}
