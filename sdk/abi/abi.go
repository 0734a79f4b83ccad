// Package abi is what a WASM guest and its runner (picket-wasm) agree on, and the few messages that every transport
// shares. It needs only the standard library, because guests link it.
//
// The guest exports
//
//	picket_alloc(size u32) -> ptr u32        memory of the guest for a request; it stays alive until freed
//	picket_free(ptr u32)
//	picket_call(op u32, ptr u32, len u32) -> u64   ptr<<32 | len of the response, valid until the next call
//
// and imports from module "picket" what outside.go lists: a log, a clock, connections, files, HTTP, state.
//
// A request is JSON (Request), except that OpInspect carries a frame (PackInspect). A response is JSON (Response).
package abi

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

// Version is the version of this interface, part of an artifact's description.
const Version = "wasip1-reactor/v1"

// Module is the name of the module that a guest imports its host functions from.
const Module = "picket"

// MaxMessage is the largest control message in either direction, on every transport.
const MaxMessage = 20 << 20

// The names of the exports and imports.
const (
	ExportAlloc = "picket_alloc"
	ExportFree  = "picket_free"
	ExportCall  = "picket_call"
	ImportLog   = "log"
	ImportNow   = "now"
)

// Op selects what a call does.
type Op uint32

// The operations. Each stands for the method of the same name of a plugin or of its life.
const (
	OpDescribe Op = iota + 1
	OpConfigure
	OpCollect
	OpDiscover
	OpInspect
	OpFlush
	OpNotify
	OpHealth
	OpSnapshot
	OpRestore
	OpStop
	OpUndo
	OpStatus
)

// Description is what a plugin says about itself.
type Description struct {
	ID           string           `json:"id"`
	Kind         sdk.Kind         `json:"kind"`
	Summary      string           `json:"summary"`
	Rules        []sdk.Rule       `json:"rules,omitempty"`
	Subscription sdk.Subscription `json:"subscription"`
	ConfigSchema json.RawMessage  `json:"config_schema"`
	// What the instances implement besides the interface of their kind.
	Watches       bool `json:"watches,omitempty"`        // sdk.Watcher
	Undoes        bool `json:"undoes,omitempty"`         // sdk.Undoer
	ReportsStatus bool `json:"reports_status,omitempty"` // sdk.StatusReporter
	Snapshots     bool `json:"snapshots,omitempty"`      // sdk.Snapshotter
	Observes      bool `json:"observes,omitempty"`       // sdk.Observer
	// Passive says of an observer that it is no sdk.Discoverer.
	Passive bool `json:"passive,omitempty"`
}

// InstanceConfig is everything that an instance gets from its host.
type InstanceConfig struct {
	Instance string            `json:"instance"` // chosen by the host
	Plugin   string            `json:"plugin"`
	Config   json.RawMessage   `json:"config,omitempty"`
	Secrets  map[string]string `json:"secrets,omitempty"` // by the path of their field
	Grants   []sdk.Permission  `json:"grants,omitempty"`
	StateDir string            `json:"state_dir,omitempty"` // a folder of the instance's own
	DenyDial []string          `json:"deny_dial,omitempty"` // CIDRs of addresses that are dialled on no grant, under whatever name
	// Channel is the instance on the record plane; 0: there is none. The host package fills it.
	Channel uint32 `json:"channel,omitempty"`
	// Generation says how often the host has started the instance, from 1.
	Generation uint64 `json:"generation,omitempty"`
	// Deadline is how long a batch on the record plane may take, nanoseconds; 0: not limited. The host ends a process that
	// takes longer; a guest's runner ends itself.
	Deadline time.Duration `json:"deadline,omitempty"`
	// ProcessMemory and ProcessCores are what a process of several instances may use from now on; 0: what it was started with.
	ProcessMemory int64 `json:"process_memory,omitempty"`
	ProcessCores  int   `json:"process_cores,omitempty"`
}

// Request is the JSON of a call; each op uses its part.
type Request struct {
	Instance  string          `json:"instance,omitempty"`
	Configure *InstanceConfig `json:"configure,omitempty"`
	Time      time.Time       `json:"time,omitzero"`      // OpCollect
	Interval  time.Duration   `json:"interval,omitempty"` // OpCollect, nanoseconds
	Prefixes  []netip.Prefix  `json:"prefixes,omitempty"` // OpDiscover
	Notice    *sdk.Notice     `json:"notice,omitempty"`
	Receipt   *sdk.Receipt    `json:"receipt,omitempty"` // OpUndo, OpStatus
	State     []byte          `json:"state,omitempty"`   // OpRestore
}

// Response is the JSON of an answer. Error may come with what was emitted before it.
type Response struct {
	Error     *Error         `json:"error,omitempty"`
	Plugins   []Description  `json:"plugins,omitempty"`
	Samples   []sdk.Sample   `json:"samples,omitempty"`
	Sightings []sdk.Sighting `json:"sightings,omitempty"`
	Findings  []sdk.Finding  `json:"findings,omitempty"`
	Receipt   *sdk.Receipt   `json:"receipt,omitempty"`
	// Status answers OpStatus.
	Status *sdk.DeliveryStatus `json:"status,omitempty"`
	State  []byte              `json:"state,omitempty"`
}

// Error is an sdk.Error on its way.
type Error struct {
	Class      sdk.Class     `json:"class"`
	Message    string        `json:"message"`
	RetryAfter time.Duration `json:"retry_after,omitempty"` // nanoseconds
}

// ErrorOf describes err for the other side, nil for nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Class: sdk.ClassOf(err), Message: cut(err.Error())}
	var e *sdk.Error
	switch {
	case errors.As(err, &e):
		out.RetryAfter = e.RetryAfter
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		out.Class = sdk.Temporary // the host's deadline, not the plugin's fault
	}
	return out
}

// maxErrorMessage bounds the text of an error.
const maxErrorMessage = 4 << 10

// Err turns the description back into an error, nil for nil. A class that does not exist becomes Internal.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	class := e.Class
	switch class {
	case sdk.InvalidConfig, sdk.Temporary, sdk.Downstream, sdk.Unsupported, sdk.PermissionDenied, sdk.Internal:
	default:
		class = sdk.Internal
	}
	return &sdk.Error{Class: class, Message: cut(e.Message), RetryAfter: max(e.RetryAfter, 0)}
}

// cut bounds the text of an error, at the side that sends it because it may travel in a header of limited size, at the
// other side because the sender may not keep to it.
func cut(s string) string {
	if len(s) <= maxErrorMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxErrorMessage], "") + "…"
}

// inspectHeader is the JSON in front of a frame.
type inspectHeader struct {
	Instance string `json:"instance"`
	Capture  string `json:"capture"`
}

// AppendInspect appends the request of OpInspect up to its frame: a little-endian u32 with the length of the JSON
// header, then the header. The frame follows directly.
func AppendInspect(dst []byte, instance, capture string) ([]byte, error) {
	head, err := json.Marshal(inspectHeader{instance, capture})
	if err != nil {
		return dst, fmt.Errorf("pack an inspect request: %w", err)
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(head)))
	return append(dst, head...), nil
}

// ParseInspect reads the request of OpInspect. The frame is a part of data.
func ParseInspect(data []byte) (instance, capture string, frame []byte, err error) {
	head, frame, err := SplitInspect(data)
	if err != nil {
		return "", "", nil, err
	}
	instance, capture, err = ParseInspectHead(head)
	return instance, capture, frame, err
}

// SplitInspect splits the request of OpInspect into its JSON header and its frame, both parts of data.
func SplitInspect(data []byte) (head, frame []byte, err error) {
	if len(data) < 4 {
		return nil, nil, fmt.Errorf("inspect request of %d bytes", len(data))
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	if n > uint64(len(data)-4) {
		return nil, nil, fmt.Errorf("inspect request of %d bytes with a header of %d", len(data), n)
	}
	return data[4 : 4+n], data[4+n:], nil
}

// ParseInspectHead reads the JSON header of the request of OpInspect.
func ParseInspectHead(data []byte) (instance, capture string, err error) {
	var head inspectHeader
	if err := json.Unmarshal(data, &head); err != nil {
		return "", "", fmt.Errorf("inspect request: %w", err)
	}
	return head.Instance, head.Capture, nil
}

// Pack joins the address and the length of a response.
func Pack(ptr, length uint32) uint64 { return uint64(ptr)<<32 | uint64(length) }

// Unpack splits what Pack joined.
func Unpack(v uint64) (ptr, length uint32) { return uint32(v >> 32), uint32(v) }
