package client

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// minRate is the slowest that an artifact may come in, in bytes per second, on top of the ordinary timeout.
const minRate = 32 << 10

// maxAttempts is how often a download goes on after its connection broke. Each must bring something.
const maxAttempts = 5

// download brings an artifact into the node's store. What an earlier attempt brought is used again: its bytes are
// hashed like the others, so nothing that lies in the folder of unfinished downloads is believed. progress hears how
// many bytes are there.
func (c *Client) download(ctx context.Context, a registry.Artifact, progress func(done int64)) error {
	if hashFile(c.storePath(a.SHA256), a) == nil {
		if err := os.Chtimes(c.storePath(a.SHA256), time.Time{}, c.cfg.Now()); err != nil { // nobody sweeps it before it is pinned
			return local(err)
		}
		progress(a.Size)
		return nil
	}
	if err := os.MkdirAll(c.path(partialDir), 0o700); err != nil {
		return local(err)
	}
	unlock, err := durable.Lock(ctx, c.partialPath(a.SHA256)+".lock")
	if err != nil {
		return refusal(registry.Busy, "another process of this node fetches the same file: %w", err)
	}
	defer unlock()
	p, err := c.openPartial(a)
	if err != nil {
		return local(err)
	}
	defer p.file.Close() // again, if all went well
	resumed := p.size > 0
	for attempt := 1; ; attempt++ {
		before := p.size
		err := c.receive(ctx, p, a, progress)
		if err == nil {
			err = p.check(a)
		}
		var no *registry.Refusal
		switch {
		case err == nil:
			return c.finish(p, a)
		case errors.As(err, &no) && no.Reason == registry.Unreachable && p.size > before && attempt < maxAttempts && ctx.Err() == nil:
			continue
		case errors.As(err, &no) && no.Reason == registry.DigestMismatch && resumed: // the earlier bytes may be at fault
			resumed = false
			if err := p.restart(); err != nil {
				return local(err)
			}
			continue
		case errors.As(err, &no) && (no.Reason == registry.DigestMismatch || no.Reason == registry.Oversized):
			_ = os.Remove(p.file.Name()) // nobody will want these bytes; what cannot be removed is hashed next time
		}
		return err
	}
}

// partial is an unfinished download: size bytes are in the file and in the sum.
type partial struct {
	file *os.File
	sum  hash.Hash
	size int64
}

const partialDir = "store/partial"

func (c *Client) partialPath(digest string) string { return c.path(filepath.Join(partialDir, digest)) }

func (c *Client) openPartial(a registry.Artifact) (*partial, error) {
	path := c.partialPath(a.SHA256)
	if info, err := os.Lstat(path); err == nil && (!info.Mode().IsRegular() || info.Mode().Perm()&0o200 == 0 || info.Size() > a.Size) {
		if err := durable.Remove(path); err != nil {
			return nil, err
		}
	}
	if err := durable.Step(durable.OpCreate, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	p := &partial{file: f, sum: sha256.New()}
	if p.size, err = io.Copy(p.sum, f); err != nil {
		f.Close()
		return nil, err
	}
	return p, nil
}

func (p *partial) restart() error {
	p.sum.Reset()
	p.size = 0
	if _, err := p.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return p.file.Truncate(0)
}

// Write adds bytes to the file and to the sum.
func (p *partial) Write(data []byte) (int, error) {
	if err := durable.Step(durable.OpWrite, p.file.Name()); err != nil {
		return 0, &writeError{err}
	}
	n, err := p.file.Write(data)
	p.sum.Write(data[:n])
	p.size += int64(n)
	if err != nil {
		return n, &writeError{err}
	}
	return n, nil
}

// writeError tells trouble with this machine's disk from trouble with the network.
type writeError struct{ error }

func (e *writeError) Unwrap() error { return e.error }

func (p *partial) check(a registry.Artifact) error {
	if p.size > a.Size {
		return refusal(registry.Oversized, "its %s artifact has more than the %d bytes that its descriptor states", a.Runtime, a.Size)
	}
	if got := hex.EncodeToString(p.sum.Sum(nil)); got != a.SHA256 {
		return refusal(registry.DigestMismatch, "its %s artifact has SHA-256 %s, its descriptor states %s", a.Runtime, got, a.SHA256)
	}
	return nil
}

// receive asks for what is missing and writes what comes.
func (c *Client) receive(ctx context.Context, p *partial, a registry.Artifact, progress func(int64)) error {
	path := registry.StorePath(a.SHA256)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+time.Duration((a.Size-p.size)/minRate)*time.Second)
	defer cancel()
	if p.size == a.Size {
		return nil // all came, but it was not put in place
	}
	r, at, err := c.src.open(ctx, path, p.size)
	if errors.Is(err, errMissing) {
		return refusal(registry.DigestMismatch, "the registry does not have the artifact %s", a.SHA256)
	}
	if err != nil {
		return unreachable(ctx, c.src, path, err)
	}
	defer r.Close()
	if at != p.size {
		if err := p.restart(); err != nil {
			return local(err)
		}
	}
	_, err = io.Copy(p, &meter{r: io.LimitReader(r, a.Size+1-p.size), done: p.size, progress: progress})
	var write *writeError
	switch {
	case errors.As(err, &write):
		return local(err)
	case err != nil:
		return unreachable(ctx, c.src, path, err)
	}
	return nil
}

// meter tells how far a download is.
type meter struct {
	r        io.Reader
	done     int64
	progress func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	if n > 0 {
		m.done += int64(n)
		m.progress(m.done)
	}
	return n, err
}

// finish makes the bytes durable and puts them into the store.
func (c *Client) finish(p *partial, a registry.Artifact) error {
	if err := durable.Step(durable.OpSync, p.file.Name()); err != nil {
		return local(err)
	}
	if err := errors.Join(p.file.Chmod(0o555), p.file.Sync(), p.file.Close()); err != nil {
		return local(err)
	}
	to := c.storePath(a.SHA256)
	err := durable.Rename(p.file.Name(), to)
	if err == nil {
		err = durable.SyncDir(filepath.Dir(to))
	}
	if err != nil {
		return local(err)
	}
	return nil
}

// local says that this machine's disk is at fault.
func local(err error) *registry.Refusal {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return &registry.Refusal{Reason: registry.DiskFull, Err: err}
	}
	return &registry.Refusal{Reason: registry.BadLocalState, Err: err}
}

// What is kept of unfinished downloads.
const (
	partialAge  = 7 * 24 * time.Hour
	partialSize = 1 << 30
)

// sweepPartial removes unfinished downloads that nobody came back for, and the oldest when there are too many.
func (c *Client) sweepPartial() {
	entries, err := os.ReadDir(c.path(partialDir))
	if err != nil {
		return // there are none, or the next installation tries again
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	total := int64(0)
	for _, info := range infos {
		total += info.Size()
		age := c.cfg.Now().Sub(info.ModTime())
		held := strings.HasSuffix(info.Name(), ".lock") && age < partialAge // a process may be waiting for it
		if (total > partialSize || age > partialAge) && !held {
			_ = os.Remove(c.partialPath(info.Name()))
		}
	}
}
