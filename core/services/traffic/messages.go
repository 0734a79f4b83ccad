package traffic

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/klauspost/compress/s2"

	"github.com/picketwatch/picket/sdk/records"
)

// The worker's messages: a u32 length (little endian) of the body, a u8 kind, the body. Frames of flows and facts and features
// come as S2 blocks.
const (
	msgFrame    = 1
	msgProgress = 2
	msgDone     = 3
	msgError    = 4
	msgPackets  = 5 // a u16 with the number of the subscription, then a frame
	msgFacts    = 6 // a frame, whose schema says of which kind
	msgPiece    = 7 // of what a worker takes out of a capture
	msgFeatures = 8 // the packed features of the flows of the next frame

	maxMessage = 16 << 20
)

// errDied says that the stream ended before the worker said done.
var errDied = errors.New("the traffic worker stopped talking")

type message struct {
	kind   byte
	body   []byte
	packed []byte // the S2 block that body came as
}

type progressMessage struct {
	BytesRead int64  `json:"bytes_read"`
	Total     int64  `json:"total"`
	Packets   uint64 `json:"packets"`
	Bytes     uint64 `json:"bytes"` // of the packets
	Flows     uint64 `json:"flows"`
	Kept      int64  `json:"kept"` // how far the packets that are kept go back, in nanoseconds
}

type doneMessage struct {
	Packets   uint64    `json:"packets"`
	Bytes     uint64    `json:"bytes"`
	Flows     uint64    `json:"flows"`
	Undecoded uint64    `json:"undecoded"`
	Evicted   uint64    `json:"evicted"`
	Truncated bool      `json:"truncated"`
	Damage    string    `json:"damage"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`

	LinkTypes []int        `json:"linktypes"`
	Services  []ServedPort `json:"services"`
	Quality   Quality      `json:"quality"`
}

// workerError is the worker's own account of why it stopped.
type workerError struct {
	Message string `json:"message"`
	Packet  uint64 `json:"packet"`
}

func (e *workerError) Error() string {
	if e.Packet == 0 {
		return e.Message
	}
	return fmt.Sprintf("packet %d: %s", e.Packet, e.Message)
}

// messages reads what the worker says. The worker parses hostile bytes, so nothing it says is taken on trust.
type messages struct {
	r     *bufio.Reader
	timed interface{ SetReadDeadline(time.Time) error } // nil when the source has no deadlines
	stall time.Duration

	lent *buffers // that bodies lie in, nil when they are new memory
}

func newMessages(r io.Reader, stall time.Duration) *messages {
	m := &messages{r: bufio.NewReaderSize(r, 64<<10), stall: stall}
	m.timed, _ = r.(interface{ SetReadDeadline(time.Time) error })
	return m
}

// next returns one message. Its body belongs to the caller, who may give the opened one of rows back, and all of features.
func (m *messages) next() (message, error) {
	if m.timed != nil {
		if err := m.timed.SetReadDeadline(time.Now().Add(m.stall)); err != nil {
			return message{}, fmt.Errorf("watch over the traffic worker: %w", err)
		}
	}
	var head [5]byte
	if _, err := io.ReadFull(m.r, head[:]); err != nil {
		return message{}, m.ended(err)
	}
	size, kind := binary.LittleEndian.Uint32(head[:4]), head[4]
	if size > maxMessage {
		return message{}, fmt.Errorf("the traffic worker announced a message of %d bytes, more than the %d allowed", size, maxMessage)
	}
	if kind < msgFrame || kind > msgFeatures {
		return message{}, fmt.Errorf("the traffic worker sent a message of unknown kind %d", kind)
	}
	body := m.room(int(size), kind == msgFeatures)
	if _, err := io.ReadFull(m.r, body); err != nil {
		return message{}, m.ended(err)
	}
	switch kind {
	case msgFrame, msgFacts, msgFeatures:
		return m.unpack(kind, body)
	}
	return message{kind: kind, body: body}, nil
}

// room is memory for n bytes, which may be lent.
func (m *messages) room(n int, lent bool) []byte {
	if lent && m.lent != nil {
		return m.lent.take(n)
	}
	return make([]byte, n)
}

// parcel is the message with the features of its flows, if it has any.
func (m message) parcel(features message) records.Parcel {
	return records.Parcel{Frame: m.body, Packed: m.packed, Features: features.body, PackedFeatures: features.packed}
}

// unpack opens an S2 block.
func (m *messages) unpack(kind byte, packed []byte) (message, error) {
	size, err := s2.DecodedLen(packed)
	if err != nil || size > records.MaxFrame {
		return message{}, fmt.Errorf("the traffic worker announced %d bytes of rows, more than the %d allowed, or no rows at all", size, records.MaxFrame)
	}
	body, err := s2.Decode(m.room(size, true), packed)
	if err != nil {
		return message{}, fmt.Errorf("the traffic worker sent rows that cannot be unpacked: %w", err)
	}
	return message{kind: kind, body: body, packed: packed}, nil
}

func (m *messages) ended(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the traffic worker was stopped because it said nothing for %s", m.stall)
	}
	return errDied
}

func decode(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the traffic worker sent a message that is not understood: %w", err)
	}
	return nil
}

func decodeError(body []byte) error {
	e := &workerError{}
	if err := decode(body, e); err != nil {
		return err
	}
	if e.Message == "" {
		e.Message = "the capture cannot be read"
	}
	if r := []rune(e.Message); len(r) > 500 {
		e.Message = string(r[:500])
	}
	return e
}
