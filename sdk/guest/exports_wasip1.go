package guest

import (
	"log/slog"
	"sync"
	"unsafe"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// plugins is made at the first call: the init functions that register have run by then.
var plugins = sync.OnceValue(func() *dispatcher {
	slog.SetDefault(slog.New(newLogHandler(sendLog)))
	return newDispatcher(sdk.Registered(), func(cfg abi.InstanceConfig) (sdk.Host, error) { return newHost(cfg, runner), nil })
})

// What the runner holds an address of must stay reachable, or the collector would take it away.
var (
	requests = map[uint32][]byte{}
	answer   []byte
)

// alloc returns the address of size bytes for a request, 0 when that is too much.
//
//go:wasmexport picket_alloc
func alloc(size uint32) uint32 {
	if size == 0 || size > abi.MaxMessage {
		return 0
	}
	buf := make([]byte, size)
	ptr := uint32(uintptr(unsafe.Pointer(&buf[0])))
	requests[ptr] = buf
	return ptr
}

//go:wasmexport picket_free
func free(ptr uint32) { delete(requests, ptr) }

// call does one operation on a request that lies in memory from alloc.
//
//go:wasmexport picket_call
func call(op, ptr, length uint32) uint64 {
	request, ok := requests[ptr]
	if !ok || uint64(length) > uint64(len(request)) {
		request, length = nil, 0
	}
	answer = plugins().call(abi.Op(op), request[:length])
	if len(answer) == 0 {
		return 0
	}
	return abi.Pack(uint32(uintptr(unsafe.Pointer(&answer[0]))), uint32(len(answer)))
}
