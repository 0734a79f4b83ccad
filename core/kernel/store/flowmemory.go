package store

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// recordingMemory is what the engine may take for each recording under way. With more it keeps what it has written until there
	// is no more room, for pages that nobody looks at yet: a capture of gigabytes would take all of it.
	recordingMemory = 32 << 20
	// restingMemory is what it keeps when the last one who used it has ended. Whoever works meanwhile finds no more than that, and fails.
	restingMemory = 4 << 20
	// pageRest is how long after a page the engine keeps what that has read: whoever looks at flows asks for the next one soon.
	pageRest = 30 * time.Second
)

// engineMemory fits what the engine may take to what it is used for: little while it only records, all that it is given while
// somebody looks at pages, or while nothing is recorded. So are its threads: what a recording does is of one piece, and whoever
// waits for another thread to do it waits in a loop that takes as much as the work.
type engineMemory struct {
	engine     *engine
	whole      int64 // bytes
	recordings func() int
	rest       time.Duration

	mu    sync.Mutex // guards what follows, and is held while the limit is changed; not taken with another lock
	pages int        // that are being read, or were of late
	works int        // that are under way besides, see work
	used  bool       // by any of them since it rested

	// As they were set last, 0 before.
	limit   int64
	threads int
}

// fit must be called when a recording has begun or ended, and is when a page or other work has.
func (m *engineMemory) fit(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	limit, threads := m.whole, m.engine.threads
	n := int64(m.recordings())
	if n > 0 && m.pages == 0 {
		limit, threads = min(limit, n*recordingMemory), 1
	}
	ctx = context.WithoutCancel(ctx)
	switch {
	case n+int64(m.pages+m.works) > 0:
		m.used = true
	case m.used:
		_ = m.set(ctx, "memory_limit = '%dMiB'", restingMemory>>20) // what was left behind nobody looks at
		m.used, m.limit = false, 0
	}
	// Less than it is just using cannot be set. Then the limit stays as it is until this is called again.
	if limit != m.limit && m.set(ctx, "memory_limit = '%dMiB'", limit>>20) == nil {
		m.limit = limit
	}
	if threads != m.threads && m.set(ctx, "threads = %d", int64(threads)) == nil {
		m.threads = threads
	}
}

func (m *engineMemory) set(ctx context.Context, format string, value int64) error {
	_, err := m.engine.db.ExecContext(ctx, "SET GLOBAL "+fmt.Sprintf(format, value))
	return err
}

// page says that a page is being read, until done is called.
func (m *engineMemory) page(ctx context.Context) (done func()) {
	m.mu.Lock()
	m.pages++
	m.mu.Unlock()
	m.fit(ctx)
	return func() { time.AfterFunc(m.rest, m.forget) }
}

// work says that the engine is at work for something that is neither a page nor a recording, until done is called.
func (m *engineMemory) work() (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.works++
	m.used = true
	return func() {
		m.mu.Lock()
		m.works--
		m.mu.Unlock()
		m.fit(context.Background())
	}
}

func (m *engineMemory) forget() {
	m.mu.Lock()
	m.pages--
	m.mu.Unlock()
	m.fit(context.Background())
}
