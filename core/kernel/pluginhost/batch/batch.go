// Package batch holds a frame of rows on its way to several detectors: encoded once, copied at most once, and let go when the
// last of them has answered.
package batch

import "sync/atomic"

// Batch is one frame, which must not be changed.
type Batch struct {
	// Frame is valid until the batch is released, and for good where nothing is to be done with it: see Done and Keep.
	Frame []byte
	// Packed is Frame as an S2 block, where it came as one. It stays as it is: who keeps the batch for long keeps this.
	Packed []byte
	// Shared is the same frame where the plugins can read it themselves; nil when it has to be sent.
	Shared any
	// Done, if there is one, is called after the last reader, unless somebody keeps the frame: its memory is used again.
	Done func()

	readers atomic.Int32
	kept    atomic.Bool
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
	n := b.readers.Add(-1)
	if n < 0 {
		panic("batch: released more often than it has readers")
	}
	if n > 0 {
		return
	}
	if b.free != nil {
		b.free()
	}
	if b.Done != nil && !b.kept.Load() {
		b.Done()
	}
}

// Keep returns the frame for a reader that goes on reading it after its Release. Its memory is not used again.
func (b *Batch) Keep() []byte {
	b.kept.Store(true)
	return b.Frame
}
