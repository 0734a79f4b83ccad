// Package backup is the form of a backup: files of a data folder go in, one file comes out; and back again. It is a tar
// archive, compressed by zstd and, where somebody may read it who must not, encrypted by age. Its last entry is a manifest
// with the digest of every other one, and behind its end follows a digest of the whole in a frame that zstd skips, so that a
// file that was cut off or altered is found out before anything is touched.
package backup

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// What a backup holds.
const (
	Full   = "full"   // everything
	Data   = "data"   // everything but samples
	Config = "config" // what was set up, and nothing that was measured or found
)

const (
	format       = 1
	headName     = "picket-backup.json"
	manifestName = "manifest.json"
	maxText      = 64 << 20 // bytes of the head and of the manifest
	maxFiles     = 1_000_000
)

// Head says what a backup is.
type Head struct {
	Format  int       `json:"format"`
	Mode    string    `json:"mode"`
	Version string    `json:"version"` // of the server that made it
	Created time.Time `json:"created"`
}

// File is one of a manifest.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

type manifest struct {
	Files []File `json:"files"`
}

// What is wrong with a backup.
var (
	ErrEncrypted = errors.New("the backup is encrypted: give its key or passphrase")
	ErrKey       = errors.New("the key or passphrase is not the one that the backup was encrypted for")
	ErrCut       = errors.New("the backup ends too early: it was cut off")
	ErrAltered   = errors.New("the backup is damaged or was altered")
	ErrForeign   = errors.New("the file is no backup of picket")
)

// Writer makes a backup.
type Writer struct {
	ctx   context.Context
	tar   *tar.Writer
	outer []io.Closer // from the inside out
	made  manifest
}

// NewWriter begins a backup, encrypted for the recipients when there are any.
func NewWriter(ctx context.Context, to io.Writer, h Head, recipients ...age.Recipient) (*Writer, error) {
	w := &Writer{ctx: ctx}
	if len(recipients) > 0 {
		sealed, err := age.Encrypt(to, recipients...)
		if err != nil {
			return nil, fmt.Errorf("encrypt: %w", err)
		}
		w.outer, to = append(w.outer, sealed), sealed
	}
	whole := &sealing{to, sha256.New()}
	w.outer = append([]io.Closer{whole}, w.outer...)
	packed, err := zstd.NewWriter(whole, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	w.outer = append([]io.Closer{packed}, w.outer...)
	w.tar = tar.NewWriter(packed)
	h.Format = format
	return w, w.text(headName, h)
}

// sealing ends a stream with its digest.
type sealing struct {
	to  io.Writer
	sum hash.Hash
}

func (s *sealing) Write(b []byte) (int, error) {
	s.sum.Write(b)
	return s.to.Write(b)
}

func (s *sealing) Close() error {
	_, err := s.to.Write(append(bytes.Clone(sealStart), s.sum.Sum(nil)...))
	return err
}

// sealStart begins a frame of 32 bytes that decoders of zstd skip.
var sealStart = []byte{0x50, 0x2a, 0x4d, 0x18, sha256.Size, 0, 0, 0}

// sealed reads a stream up to its digest, which it keeps back.
type sealed struct {
	from *bufio.Reader
	sum  hash.Hash
}

const sealSize = 8 + sha256.Size

func (s *sealed) Read(b []byte) (int, error) {
	ahead, err := s.from.Peek(s.from.Size())
	if n := len(ahead) - sealSize; n > 0 {
		n = copy(b, ahead[:n])
		s.sum.Write(b[:n])
		_, err := s.from.Discard(n)
		return n, err
	}
	return 0, err
}

// whole reports whether the digest fits what was read.
func (s *sealed) whole() bool {
	end, err := s.from.Peek(s.from.Size())
	return errors.Is(err, io.EOF) && bytes.Equal(end, append(bytes.Clone(sealStart), s.sum.Sum(nil)...))
}

func (w *Writer) text(name string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(raw)), Mode: 0o600}); err != nil {
		return err
	}
	_, err = w.tar.Write(raw)
	return err
}

// Add takes a file in, as much of it as there is now; it may go on growing.
func (w *Writer) Add(name, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	if err := w.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o600, ModTime: info.ModTime()}); err != nil {
		return err
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w.tar, sum), io.LimitReader(&patient{w.ctx, f}, info.Size()))
	if err != nil {
		return err
	}
	if n != info.Size() {
		return fmt.Errorf("%s became shorter while it was read", from)
	}
	w.made.Files = append(w.made.Files, File{name, n, hex.EncodeToString(sum.Sum(nil))})
	return nil
}

// patient is a reader that ends with its context.
type patient struct {
	ctx context.Context
	r   io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// Close completes the backup. Without it the file counts as cut off.
func (w *Writer) Close() error {
	err := errors.Join(w.text(manifestName, w.made), w.tar.Close())
	for _, c := range w.outer {
		err = errors.Join(err, c.Close())
	}
	return err
}

// Abandon gives up what Close would complete.
func (w *Writer) Abandon() { _ = w.outer[0].Close() }

// Report is what a backup turned out to hold.
type Report struct {
	Head      Head
	Files     int
	Bytes     int64
	Encrypted bool
}

// Read goes through a whole backup and hands each file to take, which may be nil. The files are as they were when it returns
// no error, not before.
func Read(ctx context.Context, from io.Reader, keys []age.Identity, take func(f File, r io.Reader) error) (Report, error) {
	r := &reading{ctx: ctx, take: take, seen: map[string]File{}}
	err := r.run(from, keys)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = ErrCut
	}
	return r.report, err
}

type reading struct {
	ctx    context.Context
	take   func(f File, r io.Reader) error
	seen   map[string]File
	report Report
}

func (r *reading) run(from io.Reader, keys []age.Identity) error {
	in := bufio.NewReaderSize(&patient{r.ctx, from}, 1<<16)
	start, err := in.Peek(4)
	if err != nil {
		return err
	}
	var plain io.Reader = in
	if bytes.Equal(start, []byte("age-")) {
		r.report.Encrypted = true
		if len(keys) == 0 {
			return ErrEncrypted
		}
		if plain, err = age.Decrypt(in, keys...); err != nil {
			return unlocked(err)
		}
	} else if !bytes.Equal(start, []byte{0x28, 0xb5, 0x2f, 0xfd}) {
		return ErrForeign
	}
	whole := &sealed{bufio.NewReaderSize(plain, 1<<16), sha256.New()}
	unpacked, err := zstd.NewReader(whole, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return err
	}
	defer unpacked.Close()
	if err := r.entries(tar.NewReader(unpacked)); err != nil {
		return r.reason(err)
	}
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return r.reason(err)
	}
	if !whole.whole() {
		return ErrAltered
	}
	return nil
}

func unlocked(err error) error {
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none), strings.Contains(err.Error(), "incorrect passphrase"):
		return ErrKey
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ErrCut
	}
	return fmt.Errorf("%w: %w", ErrAltered, err)
}

// refusal is an error of whoever takes the files.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// reason tells what a layer found wrong from what went wrong outside.
func (r *reading) reason(err error) error {
	var outside refusal
	switch {
	case errors.As(err, &outside):
		return outside.error
	case r.ctx.Err() != nil, errors.Is(err, ErrForeign), errors.Is(err, ErrCut):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return ErrCut
	}
	return fmt.Errorf("%w: %w", ErrAltered, err)
}

func (r *reading) entries(in *tar.Reader) error {
	if err := r.head(in); err != nil {
		return err
	}
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return ErrCut // its manifest is missing
		}
		if err != nil {
			return err
		}
		if h.Name == manifestName {
			return r.manifest(in, h)
		}
		if err := r.file(in, h); err != nil {
			return err
		}
	}
}

func (r *reading) head(in *tar.Reader) error {
	h, err := in.Next()
	if err != nil {
		return err
	}
	if h.Name != headName {
		return ErrForeign
	}
	if err := text(in, h, &r.report.Head); err != nil {
		return err
	}
	if r.report.Head.Format > format {
		return refusal{fmt.Errorf("the backup has format %d, this program knows up to %d; it was made by a newer picketd", r.report.Head.Format, format)}
	}
	return nil
}

func text(in io.Reader, h *tar.Header, v any) error {
	if h.Typeflag != tar.TypeReg || h.Size > maxText {
		return fmt.Errorf("%s is not what it should be", h.Name)
	}
	raw := make([]byte, h.Size)
	if _, err := io.ReadFull(in, raw); err != nil {
		return err
	}
	return json.Unmarshal(raw, v)
}

func (r *reading) file(in *tar.Reader, h *tar.Header) error {
	_, twice := r.seen[h.Name]
	if h.Typeflag != tar.TypeReg || !local(h.Name) || twice || len(r.seen) >= maxFiles {
		return fmt.Errorf("it holds %q, which does not belong there", h.Name)
	}
	sum := sha256.New()
	body := io.TeeReader(in, sum)
	f := File{Name: h.Name, Size: h.Size}
	if r.take != nil {
		if err := r.take(f, body); err != nil {
			if errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*readError)) {
				return err
			}
			return refusal{err}
		}
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		return err
	}
	f.SHA256 = hex.EncodeToString(sum.Sum(nil))
	r.seen[f.Name] = f
	r.report.Files++
	r.report.Bytes += f.Size
	return nil
}

// local reports whether a name stays below the folder that it is unpacked in.
func local(name string) bool {
	return filepath.IsLocal(filepath.FromSlash(name)) && path.Clean(name) == name && !strings.Contains(name, `\`) && name != "."
}

func (r *reading) manifest(in *tar.Reader, h *tar.Header) error {
	var m manifest
	if err := text(in, h, &m); err != nil {
		return err
	}
	if len(m.Files) != len(r.seen) {
		return fmt.Errorf("it holds %d files, its manifest names %d", len(r.seen), len(m.Files))
	}
	for _, f := range m.Files {
		if r.seen[f.Name] != f {
			return fmt.Errorf("%s is not as its manifest says", f.Name)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its manifest")
	}
	return nil
}

// readError is one of the backup, not of the place where it is unpacked.
type readError struct{ error }

func (e *readError) Unwrap() error { return e.error }

// source marks the errors of a reader.
type source struct{ r io.Reader }

func (s source) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &readError{err}
	}
	return n, err
}

// Extract unpacks a backup into a folder that it makes, and leaves nothing behind when the backup is not as it was made.
func Extract(ctx context.Context, from io.Reader, keys []age.Identity, dir string) (report Report, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return Report{}, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	folders := map[string]bool{dir: true}
	report, err = Read(ctx, from, keys, func(f File, r io.Reader) error {
		to := filepath.Join(dir, filepath.FromSlash(f.Name))
		folder := filepath.Dir(to)
		if !folders[folder] {
			if err := os.MkdirAll(folder, 0o700); err != nil {
				return err
			}
		}
		for ; !folders[folder]; folder = filepath.Dir(folder) {
			folders[folder] = true
		}
		out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		if _, err = io.Copy(out, source{r}); err == nil {
			err = out.Sync()
		}
		return errors.Join(err, out.Close())
	})
	if err != nil {
		return report, err
	}
	for folder := range folders {
		if err := syncDir(folder); err != nil {
			return report, err
		}
	}
	return report, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Recipient reads what a backup is encrypted for: a key of age ("age1…"), or a passphrase.
func Recipient(key, passphrase string) ([]age.Recipient, error) {
	switch {
	case key != "" && passphrase != "":
		return nil, errors.New("give a key or a passphrase, not both")
	case key != "":
		r, err := age.ParseX25519Recipient(strings.TrimSpace(key))
		if err != nil {
			return nil, fmt.Errorf("the key %q is not one of age (age1…): %w", key, err)
		}
		return []age.Recipient{r}, nil
	case passphrase != "":
		if len(passphrase) < 12 {
			return nil, errors.New("the passphrase must have at least 12 characters")
		}
		r, err := age.NewScryptRecipient(passphrase)
		return []age.Recipient{r}, err
	}
	return nil, nil
}

// Keys reads what opens a backup: the text of a key file of age, or a passphrase.
func Keys(keyFile io.Reader, passphrase string) ([]age.Identity, error) {
	var keys []age.Identity
	if keyFile != nil {
		list, err := age.ParseIdentities(keyFile)
		if err != nil {
			return nil, fmt.Errorf("read the key: %w", err)
		}
		keys = list
	}
	if passphrase != "" {
		k, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}
