package plane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxRing = 1 << 30
	// grain is what offsets and lengths of blocks are multiples of, so that little space is lost between them.
	grain = 4 << 10
)

// Ring is memory that the host shares with its plugins. The host alone writes and alone keeps the books, here in its own
// memory: a plugin can do no more than not answer, and then the deadline of the batch ends it.
type Ring struct {
	file *os.File
	size int
	data []byte // stays while there is a block

	mu     sync.Mutex
	hosts  map[*Host]bool // that have it
	free   []span         // ordered by offset, never adjacent
	room   chan struct{}  // closed and made anew when something is freed
	stats  RingStats
	closed bool
}

type span struct{ at, n int }

// RingStats says how a ring is used.
type RingStats struct {
	Size   int
	Used   int           // bytes in blocks
	Blocks int           // not yet released
	Puts   uint64        // blocks ever made
	Bytes  uint64        // in them
	Waits  uint64        // blocks that had to wait for room
	Waited time.Duration // how long they waited together
}

// NewRing makes a ring of about size bytes.
func NewRing(size int) (*Ring, error) {
	size = (size + grain - 1) / grain * grain
	if size <= 0 || size > maxRing {
		return nil, fmt.Errorf("a ring of %d bytes is not between 1 and %d", size, maxRing)
	}
	file, data, err := newMemory(size)
	if err != nil {
		return nil, err
	}
	return &Ring{file: file, size: size, data: data, hosts: map[*Host]bool{}, free: []span{{0, size}}, room: make(chan struct{}), stats: RingStats{Size: size}}, nil
}

// Block is one frame for several instances: a part of the ring, or in memory of the host's own. Who made it holds one reference,
// and so does each batch that is on its way and lies in the ring.
type Block struct {
	id     uint64
	own    []byte // where it lies in no ring
	ring   *Ring
	at     int
	size   int // reserved
	length int
	refs   atomic.Int32
}

var blocks atomic.Uint64

// NewBlock makes a block of a frame in memory of the host's own, which stays as it is for as long as the block is used.
func NewBlock(frame []byte) *Block {
	b := &Block{id: blocks.Add(1), own: frame, length: len(frame)}
	b.refs.Store(1)
	return b
}

// Bytes is the frame. It is valid until the last Release.
func (b *Block) Bytes() []byte {
	if b.ring == nil {
		return b.own
	}
	return b.ring.data[b.at : b.at+b.length : b.at+b.length]
}

func (b *Block) ref() ref { return ref{uint64(b.at), uint32(b.length)} }

func (b *Block) retain() { b.refs.Add(1) }

// Release gives up one reference; the last one frees the memory.
func (b *Block) Release() {
	switch n := b.refs.Add(-1); {
	case n == 0 && b.ring != nil:
		b.ring.release(span{b.at, b.size})
	case n < 0:
		panic("plane: a block is released twice")
	}
}

// Put copies a frame into the ring. It waits for room until ctx ends.
func (r *Ring) Put(ctx context.Context, frame []byte) (*Block, error) {
	b, err := r.alloc(ctx, len(frame))
	if err != nil {
		return nil, err
	}
	copy(b.Bytes(), frame)
	return b, nil
}

// Append lets encode append a frame of about size bytes straight into the ring. It waits for room until ctx ends.
func (r *Ring) Append(ctx context.Context, size int, encode func(dst []byte) []byte) (*Block, error) {
	b, err := r.alloc(ctx, size)
	if err != nil {
		return nil, err
	}
	space := r.data[b.at : b.at : b.at+b.size]
	frame := encode(space)
	if len(frame) > 0 && len(frame) <= b.size && &frame[0] == &space[:1][0] {
		b.length = len(frame)
		return b, nil
	}
	b.Release() // it did not fit and lies elsewhere
	return r.Put(ctx, frame)
}

func (r *Ring) alloc(ctx context.Context, n int) (*Block, error) {
	size := max((n+grain-1)/grain*grain, grain)
	if n < 0 || size > r.size {
		return nil, fmt.Errorf("a frame of %d bytes does not fit into a ring of %d", n, r.size)
	}
	var began time.Time
	for {
		at, room, err := r.take(size, began)
		if err != nil {
			return nil, err
		}
		if room == nil {
			b := &Block{id: blocks.Add(1), ring: r, at: at, size: size, length: n}
			b.refs.Store(1)
			return b, nil
		}
		if began.IsZero() {
			began = time.Now()
			defer r.recall()()
		}
		select {
		case <-room:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for room in the ring: %w", ctx.Err())
		}
	}
}

// recall makes the hosts read the answers that free memory until the function that it returns is called.
func (r *Ring) recall() func() {
	r.mu.Lock()
	hosts := slices.Collect(maps.Keys(r.hosts))
	r.mu.Unlock()
	var release []func()
	for _, h := range hosts {
		release = append(release, h.loan.recall())
	}
	return func() {
		for _, fn := range release {
			fn()
		}
	}
}

// has notes that a host has the ring, or has it no more.
func (r *Ring) has(h *Host, has bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if has {
		r.hosts[h] = true
	} else {
		delete(r.hosts, h)
	}
}

// take takes a span of the free memory, or returns the channel that is closed when there may be room. waiting is when the
// caller began to wait.
func (r *Ring) take(size int, waiting time.Time) (int, chan struct{}, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, nil, errors.New("the ring is closed")
	}
	i := slices.IndexFunc(r.free, func(s span) bool { return s.n >= size })
	if i < 0 {
		if waiting.IsZero() {
			r.stats.Waits++
		}
		return 0, r.room, nil
	}
	s := &r.free[i]
	at := s.at
	s.at, s.n = s.at+size, s.n-size
	if s.n == 0 {
		r.free = slices.Delete(r.free, i, i+1)
	}
	r.stats.Used += size
	r.stats.Blocks++
	r.stats.Puts++
	r.stats.Bytes += uint64(size)
	if !waiting.IsZero() {
		r.stats.Waited += time.Since(waiting)
	}
	return at, nil, nil
}

func (r *Ring) release(s span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stats.Used -= s.n
	r.stats.Blocks--
	i, _ := slices.BinarySearchFunc(r.free, s.at, func(f span, at int) int { return f.at - at })
	r.free = slices.Insert(r.free, i, s)
	if i+1 < len(r.free) && r.free[i].at+r.free[i].n == r.free[i+1].at {
		r.free[i].n += r.free[i+1].n
		r.free = slices.Delete(r.free, i+1, i+2)
	}
	if i > 0 && r.free[i-1].at+r.free[i-1].n == r.free[i].at {
		r.free[i-1].n += r.free[i].n
		r.free = slices.Delete(r.free, i, i+1)
	}
	if r.closed && r.stats.Blocks == 0 {
		r.drop()
		return
	}
	close(r.room)
	r.room = make(chan struct{})
}

// Stats says how the ring is used.
func (r *Ring) Stats() RingStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// lend calls fn with the descriptor of the memory, which stays open until fn returns; false when the ring is closed.
func (r *Ring) lend(fn func(fd int)) bool {
	file, err := r.file.SyscallConn()
	return err == nil && file.Control(func(fd uintptr) { fn(int(fd)) }) == nil
}

// Close refuses new blocks; the memory goes with the last block.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	close(r.room)
	r.room = make(chan struct{})
	if r.stats.Blocks == 0 {
		r.drop()
	}
	return r.file.Close()
}

func (r *Ring) drop() {
	unmap(r.data)
	r.data = nil
}
