package guest

import (
	"log/slog"
	"time"
	"unsafe"
)

//go:wasmimport picket log
func importLog(level int32, text unsafe.Pointer, length uint32)

//go:wasmimport picket now
func importNow() int64

//go:wasmimport picket dial
func importDial(request unsafe.Pointer, length uint32) int64

//go:wasmimport picket open
func importOpen(request unsafe.Pointer, length uint32) int64

//go:wasmimport picket fetch
func importFetch(request unsafe.Pointer, length uint32) int64

//go:wasmimport picket state_get
func importStateGet(request unsafe.Pointer, length uint32) int64

//go:wasmimport picket state_put
func importStatePut(request unsafe.Pointer, length uint32) int64

//go:wasmimport picket read
func importRead(handle uint32, into unsafe.Pointer, length uint32) int64

//go:wasmimport picket write
func importWrite(handle uint32, from unsafe.Pointer, length uint32) int64

//go:wasmimport picket seek
func importSeek(handle uint32, offset int64, whence uint32) int64

//go:wasmimport picket deadline
func importDeadline(handle, which uint32, when int64) int64

//go:wasmimport picket close
func importClose(handle uint32) int64

//go:wasmimport picket take
func importTake(into unsafe.Pointer, length uint32) uint32

// runner is the host of this guest.
var runner = &imports{
	log: sendLog,
	now: func() time.Time { return time.Unix(0, importNow()).UTC() },
	take: func(into []byte) uint32 {
		return importTake(unsafe.Pointer(unsafe.SliceData(into)), uint32(len(into)))
	},
	dial:     request(importDial),
	open:     request(importOpen),
	fetch:    request(importFetch),
	stateGet: request(importStateGet),
	statePut: request(importStatePut),
	read: func(handle uint32, b []byte) int64 {
		return importRead(handle, unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	},
	write: func(handle uint32, b []byte) int64 {
		return importWrite(handle, unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	},
	seek:     importSeek,
	deadline: importDeadline,
	close:    importClose,
}

func request(call func(unsafe.Pointer, uint32) int64) func([]byte) int64 {
	return func(b []byte) int64 { return call(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) }
}

func sendLog(level slog.Level, line []byte) {
	if len(line) > 0 {
		importLog(int32(level), unsafe.Pointer(&line[0]), uint32(len(line)))
	}
}
