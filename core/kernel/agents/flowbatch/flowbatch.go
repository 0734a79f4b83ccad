// Package flowbatch is how the flows that an agent saw travel to its server: frames of rows, one after the other, compressed.
//
// In go frames as the traffic worker sends them, out comes a Batch for the agent's queue; the server takes it apart again and
// believes nothing of it: the frames come from a process that parses packets.
package flowbatch

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/picketwatch/picket/sdk/records"
)

// Bounds of a batch.
const (
	MaxBytes = 2 << 20  // of frames in what an agent sends, unless one frame alone is longer
	maxPlain = 20 << 20 // of frames in what a server takes: a little more than one frame
	maxName  = 255
)

// Batch is part of what was captured on an interface.
type Batch struct {
	Run       string    `json:"run"` // within which flows are numbered
	Interface string    `json:"interface"`
	Filter    string    `json:"filter,omitempty"`
	Started   time.Time `json:"started"` // of the run
	Frames    []byte    `json:"frames"`  // of flows and facts, compressed with zstd
}

// Both are safe for concurrent use, and cost much to make.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPlain))
	})
)

// Pack compresses frames.
func (b *Batch) Pack(frames []byte) error {
	e, err := encoder()
	if err != nil {
		return err
	}
	b.Frames = e.EncodeAll(frames, nil)
	return nil
}

// Error says what is wrong with a batch.
type Error struct{ text string }

func (e *Error) Error() string { return e.text }

// Unpack checks a batch and returns its frames, each of which holds flows or facts that can be read.
func (b *Batch) Unpack() ([][]byte, error) {
	if b.Run == "" || b.Interface == "" || max(len(b.Run), len(b.Interface)) > maxName {
		return nil, &Error{"flows need the run and the interface that they are of"}
	}
	d, err := decoder()
	if err != nil {
		return nil, err
	}
	plain, err := d.DecodeAll(b.Frames, nil)
	if err != nil {
		return nil, &Error{"the frames of flows cannot be decompressed: " + err.Error()}
	}
	var out [][]byte
	var rows records.BatchDecoder
	for len(plain) > 0 {
		frame, rest, err := records.Next(plain)
		if kind := records.SchemaOf(frame); err == nil && kind != records.Flows && kind.Facts() == "" {
			err = errors.New("neither of flows nor of facts")
		} else if err == nil && kind != records.Flows && len(frame) > records.MaxFacts {
			err = fmt.Errorf("%d bytes of facts are more than %d", len(frame), records.MaxFacts)
		}
		if err == nil {
			err = records.Verify(frame)
		}
		if err == nil {
			_, err = rows.Decode(frame)
		}
		if err != nil {
			return nil, &Error{fmt.Sprintf("frame %d of flows: %v", len(out)+1, err)}
		}
		out, plain = append(out, frame), rest
	}
	return out, nil
}
