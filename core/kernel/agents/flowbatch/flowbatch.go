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
	Frames    []byte    `json:"frames"`  // of facts, and of flows, each behind its features, compressed with zstd
}

// Both are safe for concurrent use, and cost much to make.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
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

// Unpack checks a batch and returns its frames, each of which holds flows or facts that can be read. Those of flows come with the
// features that stand before them.
func (b *Batch) Unpack() ([]records.Parcel, error) {
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
	var out []records.Parcel
	var rows records.BatchDecoder
	var features []byte
	for n := 1; len(plain) > 0; n++ {
		frame, rest, err := records.Next(plain)
		if err == nil {
			err = records.Verify(frame)
		}
		p := records.Parcel{Frame: frame, Features: features}
		if err == nil && features == nil && records.SchemaOf(frame) == records.PackedFeatures {
			features, plain = frame, rest
			continue
		}
		if err == nil {
			err = check(p, &rows)
		}
		if err != nil {
			return nil, &Error{fmt.Sprintf("frame %d of flows: %v", n, err)}
		}
		out, plain, features = append(out, p), rest, nil
	}
	if features != nil {
		return nil, &Error{"features of flows without their flows"}
	}
	return out, nil
}

// check reports what is wrong with a frame that is in order as a whole.
func check(p records.Parcel, rows *records.BatchDecoder) error {
	kind := records.SchemaOf(p.Frame)
	switch {
	case kind != records.Flows && kind.Facts() == "":
		return errors.New("neither of flows nor of facts")
	case kind == records.Contents:
		return errors.New("what is in files does not leave the machine that saw it")
	case kind != records.Flows && p.Features != nil:
		return errors.New("features before what are no flows")
	case kind != records.Flows && len(p.Frame) > records.MaxFacts:
		return fmt.Errorf("%d bytes of facts are more than %d", len(p.Frame), records.MaxFacts)
	}
	_, err := rows.Decode(p.Frame)
	return errors.Join(err, p.Check())
}
