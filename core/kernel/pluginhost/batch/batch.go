// Package batch holds a frame of rows on its way to several detectors: encoded once, copied at most once, and let go when the
// last of them has answered.
package batch

import "sync/atomic"

// Batch is one frame. Frame must not be changed, also after the batch was released: who keeps the slice may go on reading it.
type Batch struct {
	Frame []byte
	// Packed is Frame as an S2 block, where it came as one: who keeps the batch for long keeps this.
	Packed []byte
	// Shared is the same frame where the plugins can read it themselves; nil when it has to be sent.
	Shared any

	readers atomic.Int32
	free    func() // ends Shared
}

// New makes a batch for so many readers; each must release it. free, which may be nil, is called after the last.
func New(frame []byte, readers int, shared any, free func()) *Batch {
	b := &Batch{Frame: frame, Shared: shared, free: free}
	b.readers.Store(int32(readers))
	if readers <= 0 && free != nil {
		free()
	}
	return b
}

// Release gives up one reader's part.
func (b *Batch) Release() {
	switch n := b.readers.Add(-1); {
	case n == 0 && b.free != nil:
		b.free()
	case n < 0:
		panic("batch: released more often than it has readers")
	}
}
