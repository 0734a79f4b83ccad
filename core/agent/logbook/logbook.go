// Package logbook keeps what an agent logs in files of a bounded size: agent.log, and older ones packed beside it, agent.log.1.gz the
// newest of them.
package logbook

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// What a folder holds at most.
const (
	DefaultSize = 10 << 20       // bytes of a file
	Older       = 5              // files besides the one that is written
	oldest      = 24 * time.Hour // a file is put away when it is older, if there is anything in it
)

const name = "agent.log"

// Book is written line by line. It is safe for concurrent use.
type Book struct {
	dir  string
	size int64
	now  func() time.Time

	mu      sync.Mutex // guards all below
	file    *os.File
	written int64
	began   time.Time
	lost    int // lines, since one could be written
	closed  bool

	packed sync.WaitGroup // the file before, which is being packed; waited for under mu
}

// Open goes on with the files of a folder, which it makes. size 0 means DefaultSize.
func Open(dir string, size int64) (*Book, error) {
	if size <= 0 {
		size = DefaultSize
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the log: %w", err)
	}
	b := &Book{dir: dir, size: size, now: time.Now}
	if err := b.open(); err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	if _, err := os.Stat(b.path(1)); err == nil { // an agent that was killed left it so
		b.pack()
	}
	return b, nil
}

func (b *Book) current() string   { return filepath.Join(b.dir, name) }
func (b *Book) path(n int) string { return fmt.Sprintf("%s.%d", b.current(), n) }

func (b *Book) open() error {
	f, err := os.OpenFile(b.current(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	b.file, b.written, b.began = f, info.Size(), b.now()
	if b.written > 0 { // of a file that goes on this is when it was last written, so that it may grow a day older
		b.began = info.ModTime()
	}
	return nil
}

// Write takes whole lines. What cannot be written is counted, and said when writing works again: an agent does not stop for its log.
func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil && b.written > 0 && (b.written+int64(len(p)) > b.size || b.now().Sub(b.began) > oldest) {
		b.turn()
	}
	if b.closed || b.file == nil && b.open() != nil {
		b.lost++
		return len(p), nil
	}
	if b.lost > 0 {
		note := fmt.Appendf(nil, `{"time":%q,"level":"WARN","msg":"lines of this log could not be written","lines":%d}`+"\n", b.now().Format(time.RFC3339Nano), b.lost)
		if n, err := b.file.Write(note); err != nil {
			b.lost++
			return len(p), nil
		} else {
			b.written, b.lost = b.written+int64(n), 0
		}
	}
	n, err := b.file.Write(p)
	b.written += int64(n)
	if err != nil {
		b.lost++
		if n > 0 { // half a line would spoil the next one
			_ = b.file.Truncate(b.written - int64(n))
			b.written -= int64(n)
		}
	}
	return len(p), nil
}

// turn puts the file away and begins another. When it cannot, the file goes on.
func (b *Book) turn() {
	b.packed.Wait()
	b.file.Close()
	b.file = nil
	for n := Older; n > 1; n-- {
		for _, ending := range []string{"", ".gz"} { // one that could not be packed stays as it is
			_ = os.Remove(b.path(n) + ending)
			_ = os.Rename(b.path(n-1)+ending, b.path(n)+ending)
		}
	}
	_ = os.Rename(b.current(), b.path(1))
	if b.open() != nil {
		return
	}
	b.began = b.now()
	b.pack()
}

// pack packs the newest of the older files, beside what is written meanwhile. It is there unpacked when that fails.
func (b *Book) pack() {
	b.packed.Go(func() { _ = packFile(b.path(1), b.path(1)+".gz") })
}

// Close ends writing.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.packed.Wait()
	b.closed = true
	if b.file == nil {
		return nil
	}
	err := b.file.Close()
	b.file = nil
	return err
}

func packFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	err = errors.Join(err, z.Close(), out.Sync(), out.Close())
	if err != nil {
		os.Remove(to + ".new")
		return err
	}
	if err := os.Rename(to+".new", to); err != nil {
		return err
	}
	in.Close() // some systems remove no open file
	return os.Remove(from)
}
