package traffic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"unicode"
)

// An upload is refused with one of these; the API turns them into statuses.
var (
	ErrEmpty   = errors.New("the upload is empty")
	ErrTooBig  = errors.New("the upload is larger than this server accepts")
	ErrBacklog = errors.New("too many captures are waiting to be analysed; try again later")
)

const incoming = "incoming-"

// Receive streams an upload to disk, hashing as it comes, and makes it a job. The same bytes are stored once.
func (s *Service) Receive(ctx context.Context, tenant, name, by string, r io.Reader) (Capture, error) {
	if s.Waiting() >= maxWaiting {
		return Capture{}, ErrBacklog
	}
	if err := s.cfg.Store.Room(ctx, tenant, 1); err != nil { // before anything is read
		return Capture{}, err
	}
	tmp, err := os.CreateTemp(s.cfg.Dir, incoming)
	if err != nil {
		return Capture{}, fmt.Errorf("store the upload: %w", err)
	}
	defer os.Remove(tmp.Name()) // fails once it has been renamed, as it should
	defer tmp.Close()

	h := sha256.New()
	size, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(r, s.cfg.MaxBytes+1))
	switch {
	case err != nil:
		return Capture{}, fmt.Errorf("store the upload: %w", err)
	case size > s.cfg.MaxBytes:
		return Capture{}, fmt.Errorf("%w (%d MiB)", ErrTooBig, s.cfg.MaxBytes>>20)
	case size == 0:
		return Capture{}, ErrEmpty
	}
	sum := hex.EncodeToString(h.Sum(nil))
	s.files.Lock() // between the file and its row nobody may find it unused
	defer s.files.Unlock()
	if err := s.cfg.Store.Room(ctx, tenant, size); err != nil {
		return Capture{}, err
	}
	if err := keep(tmp, s.path(sum)); err != nil {
		return Capture{}, fmt.Errorf("store the upload: %w", err)
	}
	return s.enqueue(ctx, tenant, cleanName(name), by, sum, size)
}

// MaxUpload is the size of the largest upload that is taken.
func (s *Service) MaxUpload() int64 { return s.cfg.MaxBytes }

// Open returns the stored bytes of a capture.
func (s *Service) Open(c Capture) (*os.File, error) { return os.Open(s.path(c.SHA256)) }

func (s *Service) path(sum string) string { return filepath.Join(s.cfg.Dir, sum) }

// keep makes a received file durable under its final name: a job must not outlive its bytes.
func keep(tmp *os.File, final string) error {
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), final); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(final))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// removeIncoming clears what uploads left behind that were cut off by the end of the program.
func removeIncoming(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, incoming+"*"))
	for _, f := range left {
		os.Remove(f)
	}
}

// cleanName keeps the last element of what the uploader called the file, without control characters.
func cleanName(name string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	if r := []rune(name); len(r) > 120 {
		name = string(r[:120])
	}
	if name == "" || name == "." || name == ".." {
		return "capture"
	}
	return name
}
