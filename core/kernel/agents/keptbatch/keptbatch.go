// Package keptbatch is how the packets that a live finding rests on travel to the server: as a pcap file, compressed, beside what its packets are.
//
// In goes what the traffic worker took out, out come Packets for the agent's queue; the server takes it apart again and believes
// nothing of it. Of the file it checks that it is one and how long it is; what is in a packet is for a worker to read.
package keptbatch

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/picketwatch/picket/core/kernel/carved"
)

// Why there are no packets.
const (
	Off    = "off"    // the owner of the agent's machine keeps none
	Gone   = "gone"   // they had been overwritten by newer ones
	Limit  = "limit"  // the agent had sent as many within the hour as it may
	Failed = "failed" // they could not be taken out
)

// Packets are what is kept for one finding.
type Packets struct {
	Finding string `json:"finding"` // its id on the server
	Run     string `json:"run"`     // within which packets and flows are numbered
	Why     string `json:"why,omitempty"`
	carved.Kept
	File []byte `json:"file,omitempty"` // compressed with zstd
}

// Both are safe for concurrent use, and cost much to make.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(carved.MaxKeptBytes))
	})
)

// Pack compresses a pcap file.
func (b *Packets) Pack(file []byte) error {
	e, err := encoder()
	if err != nil {
		return err
	}
	b.File = e.EncodeAll(file, nil)
	return nil
}

// Error says what is wrong with a batch.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

func wrong(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

// Unpack checks a batch and returns its file, which is nil when there are no packets.
func (b *Packets) Unpack() ([]byte, error) {
	if id, err := uuid.Parse(b.Finding); err != nil || id.String() != b.Finding {
		return nil, wrong("the finding is not named by its id")
	}
	if b.Run == "" || len(b.Run) > 255 {
		return nil, wrong("the run must have 1 to 255 bytes")
	}
	if b.Why != "" {
		if !slices.Contains([]string{Off, Gone, Limit, Failed}, b.Why) || len(b.Packets) > 0 || len(b.File) > 0 {
			return nil, wrong("without packets, it must say why, and nothing else")
		}
		return nil, nil
	}
	switch n := len(b.Packets); {
	case n == 0 || n > carved.MaxKeptPackets:
		return nil, wrong("there are %d packets, 1 to %d are taken for a finding", n, carved.MaxKeptPackets)
	case b.Matched < n || b.Missing < 0 || max(b.Matched, b.Missing) > 1<<30:
		return nil, wrong("the numbers of packets cannot be right")
	}
	for i, p := range b.Packets {
		if i > 0 && p.Number <= b.Packets[i-1].Number || p.Number == 0 || max(p.Number, p.Flow) > 1<<62 {
			return nil, wrong("packet %d is not numbered in order", i)
		}
	}
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	file, err := d.DecodeAll(b.File, nil)
	if err != nil {
		return nil, wrong("the packets cannot be decompressed: %v", err)
	}
	if n, ok := records(file); !ok || n != len(b.Packets) || len(file) > carved.MaxKeptBytes {
		return nil, wrong("the packets are not in a pcap file of at most %d bytes with as many of them", carved.MaxKeptBytes)
	}
	return file, nil
}

// Of a pcap file as the worker writes it.
const (
	magic      = 0xa1b23c4d // with nanoseconds, in the order of a small machine
	fileHead   = 24
	recordHead = 16
)

// records counts the packets of a pcap file, without looking at any.
func records(file []byte) (n int, ok bool) {
	if len(file) < fileHead || binary.LittleEndian.Uint32(file) != magic {
		return 0, false
	}
	for file = file[fileHead:]; len(file) > 0; n++ {
		if len(file) < recordHead {
			return n, false
		}
		captured, length := binary.LittleEndian.Uint32(file[8:]), binary.LittleEndian.Uint32(file[12:])
		if captured > length || uint64(captured) > uint64(len(file)-recordHead) {
			return n, false
		}
		file = file[recordHead+captured:]
	}
	return n, true
}
