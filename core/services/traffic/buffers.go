package traffic

import (
	"math/bits"
	"sync"
)

const (
	// Buffers of these powers of two are used again: those below cost next to nothing, and larger ones hardly ever come.
	minBuffer, maxBuffer = 12, 22
	// maxSpare is how many bytes of them wait for another use.
	maxSpare = 8 << 20
)

// buffers lends memory for frames: what a worker says of one capture is gigabytes, and each frame is read within moments. Its
// methods may be called at once; the zero value is ready.
type buffers struct {
	mu    sync.Mutex
	spare [maxBuffer + 1][][]byte // by power of two
	size  int                     // bytes in spare
}

// take returns n bytes that hold anything.
func (b *buffers) take(n int) []byte {
	power := max(bits.Len(uint(max(n, 1)-1)), minBuffer) //nolint:gosec // positive
	if power > maxBuffer {
		return make([]byte, n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.spare[power]
	if len(list) == 0 {
		return make([]byte, n, 1<<power)
	}
	last := len(list) - 1
	buf := list[last]
	list[last], b.spare[power] = nil, list[:last]
	b.size -= cap(buf)
	return buf[:n]
}

// give takes back what take returned, for another use.
func (b *buffers) give(buf []byte) {
	power := bits.Len(uint(cap(buf))) - 1
	if cap(buf) != 1<<max(power, 0) || power < minBuffer || power > maxBuffer {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.size+cap(buf) > maxSpare {
		return
	}
	b.spare[power] = append(b.spare[power], buf)
	b.size += cap(buf)
}
