// Package brokerwire is what a confined plugin process and the broker of its host say to each other. Package broker of
// the host and the Go SDK speak it; authors do not import it. It is written down here for SDKs in other languages.
//
// # Messages
//
// The process inherits one end of a pair of Unix sockets of type SOCK_SEQPACKET; the variable PICKET_BROKER_FD has its
// number. Each message is one packet of JSON, at most MaxMessage bytes. The process sends a Request with an id of its
// own choice, not 0, and where it has several instances the name of the one that asks; the broker sends one Answer with that id, in any order. Many requests may wait at the same time.
// An answer without error may bring one descriptor (SCM_RIGHTS), which belongs to the process:
//
//	op            fields                           descriptor
//	dial          network, address, timeout        tcp, unix: SOCK_STREAM, the bytes of the connection, half-close works
//	                                               udp: SOCK_SEQPACKET, datagrams (below)
//	listen        network tcp, address             SOCK_SEQPACKET; each connection is one packet, an Accepted as JSON,
//	                                               and brings a SOCK_STREAM
//	listen_packet network udp, address             SOCK_SEQPACKET, datagrams
//	icmp          network ip4 or ip6               SOCK_SEQPACKET, datagrams; port is 0
//	open          name                             the file, open for reading: an absolute path, or the id of a model or
//	                                               data pack that the plugin requires; of that the answer has model too
//	state_get     key                              SOCK_STREAM with size bytes, when found and size is not 0
//	state_put     key, size                        SOCK_STREAM: send size bytes, shut down writing, read an Answer up to
//	                                               the end of the stream; the value is stored when that has no error
//
// Closing a descriptor ends what it stands for. The broker ends the connection when a message is not one of these.
//
// # Datagrams
//
// Each packet is: u8 length of the address (0: the connected peer, 4, 16), the address, then only if that is not 0: u16
// port in little endian, u8 length of the zone, the zone; then the payload. A packet from the broker that begins with
// 0xff is an error instead, a Cause in ASCII: the last datagram did not arrive.
package brokerwire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// Env is the environment variable with the number of the descriptor.
const Env = "PICKET_BROKER_FD"

const (
	// MaxMessage is the largest message in bytes.
	MaxMessage = 64 << 10
	// MaxDatagram is the largest datagram with its address in bytes.
	MaxDatagram = 64<<10 + maxAddress
	// MaxRequests is how many requests of one process the broker works on at once; then it reads no further.
	MaxRequests = 256
	maxText     = 4 << 10 // of an address, a path or a key
	maxAddress  = 1 + 16 + 2 + 1 + 255
)

// What a Request asks for.
const (
	OpDial         = "dial"
	OpListen       = "listen"
	OpListenPacket = "listen_packet"
	OpICMP         = "icmp"
	OpOpen         = "open"
	OpStateGet     = "state_get"
	OpStatePut     = "state_put"
)

// Request is what the process asks for; each op uses its part.
type Request struct {
	ID uint64 `json:"id"`
	// Instance is whose request it is; a process that has one need not say so.
	Instance string        `json:"instance,omitempty"`
	Op       string        `json:"op"`
	Network  string        `json:"network,omitempty"`
	Address  string        `json:"address,omitempty"`
	Timeout  time.Duration `json:"timeout,omitempty"` // nanoseconds; 0 or more than 30 s means 30 s
	Name     string        `json:"name,omitempty"`
	Key      string        `json:"key,omitempty"`
	Size     int64         `json:"size,omitempty"` // bytes
}

// Answer is what the broker says to a Request.
type Answer struct {
	ID     uint64 `json:"id"`
	Error  *Error `json:"error,omitempty"`
	Local  string `json:"local,omitempty"` // addresses of a connection or a listener
	Remote string `json:"remote,omitempty"`
	// Lookup is how long the name of a dial took to resolve, in nanoseconds.
	Lookup time.Duration `json:"lookup,omitempty"`
	Found  bool          `json:"found,omitempty"`
	Size   int64         `json:"size,omitempty"` // bytes
	// Model is the release that an opened model is of.
	Model *abi.ModelInfo `json:"model,omitempty"`
}

// Accepted is a connection that a listener took.
type Accepted struct {
	Local  string `json:"local"`
	Remote string `json:"remote"`
}

// ParseRequest reads a request and refuses one that no process of ours would send.
func ParseRequest(data []byte) (Request, error) {
	var r Request
	if len(data) > MaxMessage {
		return r, fmt.Errorf("a request of %d bytes is larger than %d", len(data), MaxMessage)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("a request that is no JSON: %w", err)
	}
	switch {
	case r.ID == 0:
		return r, errors.New("a request without an id")
	case r.Timeout < 0 || r.Size < 0:
		return r, fmt.Errorf("request %d has a negative number", r.ID)
	case len(r.Instance) > maxText || len(r.Network) > 16 || len(r.Address) > maxText || len(r.Name) > maxText || len(r.Key) > maxText:
		return r, fmt.Errorf("request %d has a text longer than %d bytes", r.ID, maxText)
	}
	return r, nil
}

// Error is an error on its way to the process.
type Error struct {
	abi.Error
	Cause Cause `json:"cause,omitempty"`
}

// Cause names what a program may want to test for; "" is none of them.
type Cause string

// The causes.
const (
	CauseNotExist    Cause = "not_exist"   // fs.ErrNotExist
	CausePermission  Cause = "permission"  // fs.ErrPermission
	CauseTimeout     Cause = "timeout"     // os.ErrDeadlineExceeded, and net.Error says Timeout
	CauseRefused     Cause = "refused"     // ECONNREFUSED
	CauseReset       Cause = "reset"       // ECONNRESET
	CauseUnreachable Cause = "unreachable" // EHOSTUNREACH or ENETUNREACH
	CauseInUse       Cause = "in_use"      // EADDRINUSE
)

var causes = []struct {
	cause Cause
	err   error
}{
	{CauseNotExist, fs.ErrNotExist},
	{CausePermission, fs.ErrPermission},
	{CauseTimeout, os.ErrDeadlineExceeded},
	{CauseRefused, syscall.ECONNREFUSED},
	{CauseReset, syscall.ECONNRESET},
	{CauseUnreachable, syscall.EHOSTUNREACH},
	{CauseUnreachable, syscall.ENETUNREACH},
	{CauseInUse, syscall.EADDRINUSE},
}

// CauseOf returns the cause of err.
func CauseOf(err error) Cause {
	for _, c := range causes {
		if errors.Is(err, c.err) {
			return c.cause
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return CauseTimeout
	}
	return ""
}

// ErrorOf describes err for the process, nil for nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	return &Error{Error: *abi.ErrorOf(err), Cause: CauseOf(err)}
}

// Err turns the description back into an error, nil for nil.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	if e.Cause == "" {
		return e.Error.Err()
	}
	plain := e.Error
	plain.Message = ""
	err := plain.Err()
	var classified *sdk.Error
	if errors.As(err, &classified) {
		classified.Err = CauseError(e.Cause, e.Message)
	}
	return err
}

// CauseError returns an error with the text for which errors.Is and net.Error say what the cause says.
func CauseError(cause Cause, text string) error {
	for _, c := range causes {
		if c.cause == cause {
			return &remoteError{text: text, cause: c.err}
		}
	}
	return errors.New(text)
}

// remoteError is an error that happened in the broker.
type remoteError struct {
	text  string
	cause error
}

func (e *remoteError) Error() string   { return e.text }
func (e *remoteError) Unwrap() error   { return e.cause }
func (e *remoteError) Timeout() bool   { return errors.Is(e.cause, os.ErrDeadlineExceeded) }
func (e *remoteError) Temporary() bool { return e.Timeout() }

// errorMark begins a datagram that is an error.
const errorMark = 0xff

// AppendDatagram appends the header of a datagram from or to addr; the zero AddrPort is the connected peer. The payload
// follows directly. A zone longer than 255 bytes is left out.
func AppendDatagram(dst []byte, addr netip.AddrPort) []byte {
	if !addr.IsValid() {
		return append(dst, 0)
	}
	raw := addr.Addr().Unmap().AsSlice()
	dst = append(dst, byte(len(raw)))
	dst = append(dst, raw...)
	dst = binary.LittleEndian.AppendUint16(dst, addr.Port())
	zone := addr.Addr().Zone()
	if len(zone) > 255 {
		zone = ""
	}
	dst = append(dst, byte(len(zone)))
	return append(dst, zone...)
}

// AppendDatagramError appends a packet that says that a datagram was not delivered.
func AppendDatagramError(dst []byte, cause Cause) []byte {
	return append(append(dst, errorMark), cause...)
}

// DatagramError is what ParseDatagram returns for a packet that is an error.
type DatagramError struct{ Cause Cause }

// Error says that a datagram was lost, and why.
func (e *DatagramError) Error() string {
	return "the last datagram was not delivered: " + string(e.Cause)
}

// Unwrap returns the error of the system that the cause names, nil when there is none.
func (e *DatagramError) Unwrap() error {
	for _, c := range causes {
		if c.cause == e.Cause {
			return c.err
		}
	}
	return nil
}

// ParseDatagram splits a packet into the address, the zero AddrPort for the connected peer, and the payload, a part of
// data.
func ParseDatagram(data []byte) (netip.AddrPort, []byte, error) {
	var none netip.AddrPort
	if len(data) == 0 {
		return none, nil, errors.New("an empty packet is no datagram")
	}
	n, rest := int(data[0]), data[1:]
	switch n {
	case 0:
		return none, rest, nil
	case errorMark:
		return none, nil, &DatagramError{Cause(rest[:min(len(rest), 32)])}
	case 4, 16:
	default:
		return none, nil, fmt.Errorf("a datagram with an address of %d bytes", n)
	}
	if len(rest) < n+3 || len(rest) < n+3+int(rest[n+2]) {
		return none, nil, fmt.Errorf("a datagram of %d bytes ends within its address", len(data))
	}
	addr, _ := netip.AddrFromSlice(rest[:n])
	port := binary.LittleEndian.Uint16(rest[n:])
	zone := string(rest[n+3 : n+3+int(rest[n+2])])
	if zone != "" {
		addr = addr.WithZone(zone)
	}
	return netip.AddrPortFrom(addr.Unmap(), port), rest[n+3+len(zone):], nil
}
