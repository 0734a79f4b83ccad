package abi

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"
)

// # The outside world of a guest
//
// A guest imports what it needs of these from module "picket"; a guest that imports anything else does not start. All
// numbers are little endian, all texts UTF-8. Every function blocks until it is done or the deadline of the call that
// the guest is in has passed. The same grants hold as for a process.
//
//	log(level i32, ptr u32, len u32)                          one line; level as in log/slog; at most 16 KiB
//	now() -> i64                                              the host's clock, nanoseconds since 1970
//	dial(ptr u32, len u32) -> i64                             JSON DialRequest; answers JSON Opened
//	open(ptr u32, len u32) -> i64                             JSON OpenRequest; answers JSON Opened; also of a model
//	fetch(ptr u32, len u32) -> i64                            framed FetchRequest + body; answers framed FetchAnswer + body
//	state_get(ptr u32, len u32) -> i64                        JSON StateKey; answers 1 byte (1 there, 0 missing) + value
//	state_put(ptr u32, len u32) -> i64                        framed StateKey + value; answers 0
//	read(handle u32, ptr u32, len u32) -> i64                 bytes read into ptr, 0 at the end; at most 1 MiB at once
//	write(handle u32, ptr u32, len u32) -> i64                bytes written: all len of them, or an error; at most 1 MiB
//	seek(handle u32, offset i64, whence u32) -> i64           the new position in a file; whence as in io.Seeker (0, 1, 2)
//	deadline(handle u32, which u32, when i64) -> i64          which: 1 reading, 2 writing, 3 both; when in nanoseconds since 1970, 0 for none; answers 0
//	close(handle u32) -> i64                                  gives the handle back; answers 0
//	take(ptr u32, len u32) -> u32                             copies the waiting answer to ptr, returns how many bytes it copied
//
// Results. dial, open, fetch and state_get return the length n > 0 of an answer that waits at the host: the guest makes
// room for n bytes of its own and copies the answer with one take. Every function that returns i64 returns a negative
// number for an error: -n says that JSON of n bytes waits to be taken, a HostError. The answer waits until it is taken
// or until the next call of any function but log and now. take copies min(len, n) bytes and forgets the rest.
//
// Memory. The host never keeps an address of the guest and never calls picket_alloc from one of these functions. It
// reads a request before the function returns; request and buffers belong to the guest all the time. An address outside
// of the guest's memory is an error of class internal.
//
// Framed means: u32 length of a JSON header, the header, and the body up to the end.
//
// Bounds: a request without its body is at most 64 KiB, a body at most sdk.MaxFetch (fetch) or 1 MiB (state_put); a
// guest has at most MaxHandles handles. Every request names its instance as in InstanceConfig.

// The imports besides ImportLog and ImportNow.
const (
	ImportDial     = "dial"
	ImportOpen     = "open"
	ImportFetch    = "fetch"
	ImportStateGet = "state_get"
	ImportStatePut = "state_put"
	ImportRead     = "read"
	ImportWrite    = "write"
	ImportSeek     = "seek"
	ImportDeadline = "deadline"
	ImportClose    = "close"
	ImportTake     = "take"
)

const (
	// MaxHandles is how many connections and files a guest may have open.
	MaxHandles = 256
	// MaxHostRequest is the largest request to a host function without its body, in bytes.
	MaxHostRequest = 64 << 10
	// MaxChunk is the most that one read or write moves, in bytes.
	MaxChunk = 1 << 20
)

// What a deadline is for.
const (
	DeadlineRead  uint32 = 1
	DeadlineWrite uint32 = 2
)

// DialRequest asks for a connection.
type DialRequest struct {
	Instance string        `json:"instance"`
	Network  string        `json:"network"` // "tcp", "udp", or "unix"
	Address  string        `json:"address"` // host:port, or a path
	Timeout  time.Duration `json:"timeout,omitempty"`
}

// OpenRequest asks for a file to read.
type OpenRequest struct {
	Instance string `json:"instance"`
	Name     string `json:"name"` // an absolute path, or the id of a model or data pack that the plugin requires
}

// Opened is a new connection or file.
type Opened struct {
	Handle uint32 `json:"handle"`
	// Local and Remote are the addresses of a connection.
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
	// File is what a file was when it was opened.
	File *FileInfo `json:"file,omitempty"`
	// Model is the release that a model is of; nil for other files.
	Model *ModelInfo `json:"model,omitempty"`
}

// ModelInfo says which release a model or data pack is of.
type ModelInfo struct {
	Version string `json:"version"`
	Digest  string `json:"digest"` // SHA-256 of the bytes, in hexadecimal
}

// FileInfo describes a file.
type FileInfo struct {
	Name     string      `json:"name"` // the last element of its path
	Size     int64       `json:"size"` // bytes
	Mode     fs.FileMode `json:"mode"` // as in package io/fs
	Modified time.Time   `json:"modified"`
}

// FetchRequest is an sdk.Request without its body.
type FetchRequest struct {
	Instance string              `json:"instance"`
	Method   string              `json:"method,omitempty"`
	URL      string              `json:"url"`
	Header   map[string][]string `json:"header,omitempty"`
	Roots    string              `json:"roots,omitempty"`   // as in sdk.Request
	Timeout  time.Duration       `json:"timeout,omitempty"` // nanoseconds
}

// FetchAnswer is an sdk.Response without its body.
type FetchAnswer struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`
}

// StateKey names a value of an instance's state.
type StateKey struct {
	Instance string `json:"instance"`
	Key      string `json:"key"`
}

// HostError is the error of a host function.
type HostError struct {
	Error
	Timeout bool `json:"timeout,omitempty"` // the deadline of the handle has passed
}

// AppendFramed appends a JSON header with its length in front (u32, little endian). The body follows directly.
func AppendFramed(dst []byte, header any) ([]byte, error) {
	head, err := json.Marshal(header)
	if err != nil {
		return dst, fmt.Errorf("pack a header: %w", err)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(head)))
	return append(dst, head...), nil
}

// ParseFramed reads the header that AppendFramed wrote and returns the body, a part of data. It fails when the header
// is no JSON for it or is larger than the rest of data.
func ParseFramed(data []byte, header any) (body []byte, err error) {
	if len(data) < 4 {
		return nil, fmt.Errorf("a message of %d bytes has no header", len(data))
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	if n > uint64(len(data)-4) {
		return nil, fmt.Errorf("a message of %d bytes cannot have a header of %d", len(data), n)
	}
	if err := json.Unmarshal(data[4:4+n], header); err != nil {
		return nil, fmt.Errorf("the header of a message: %w", err)
	}
	return data[4+n:], nil
}
