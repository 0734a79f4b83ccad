// Package saved writes down the memory of a detector: what goes in are numbers and bytes, put behind each other, what comes out
// is a state that says its version and shows when it was cut or changed.
//
// A detector that has seen much is asked for its memory while it works, every few seconds of a busy capture. So nothing is
// compressed, nothing is text, and writing needs no room for a second copy, in a guest above all, whose memory never shrinks.
package saved

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// magic begins a packed state; its version and the numbers follow, and at the end the checksum of all that.
const magic = "\x00pkst"

const (
	headSize = len(magic) + 1
	sumSize  = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Begin returns the beginning of a state, to which the caller appends. A guess of its size that is too low costs a copy.
func Begin(version uint8, about int) []byte {
	b := make([]byte, 0, headSize+about+sumSize)
	return append(append(b, magic...), version)
}

// Seal ends a state.
func Seal(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Is reports whether a state was made by Seal, of whatever version.
func Is(state []byte) bool { return bytes.HasPrefix(state, []byte(magic)) }

// Open reads a state that is whole and of a version.
func Open(version uint8, state []byte) (*Packed, error) {
	if !Is(state) || len(state) < headSize+sumSize {
		return nil, errors.New("this is no state")
	}
	body, sum := state[:len(state)-sumSize], state[len(state)-sumSize:]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return nil, errors.New("the state was cut or changed: its checksum differs")
	}
	if got := body[len(magic)]; got != version {
		return nil, fmt.Errorf("version %d of a state, expected %d", got, version)
	}
	return NewPacked(body[headSize:]), nil
}
