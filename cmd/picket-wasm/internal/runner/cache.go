package runner

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
)

// KeySize is the size of Config.CacheKey.
const KeySize = 32

// macExt names the file beside a compiled one that holds its MAC.
const macExt = ".mac"

// entry is the folder of one guest's machine code. wazero executes what lies there as it is, so each file has a MAC
// beside it, and a file without the right one is removed before wazero looks. The MAC is also over the guest's digest
// and the file's place: code of another guest, version or processor does not pass either.
type entry struct {
	dir    string
	digest string
	key    []byte
}

func newEntry(cache string, key, wasm []byte) (*entry, error) {
	if len(key) != KeySize {
		return nil, errors.New("there is no key for it")
	}
	sum := sha256.Sum256(wasm)
	digest := hex.EncodeToString(sum[:])
	return &entry{dir: filepath.Join(cache, digest), digest: digest, key: key}, nil
}

// What lies in the folder. Another way to make it has other names.
const (
	// codeDir is wazero's folder, with the machine code.
	codeDir = "code-" + launch.GuestCode
	// hollowFile is the guest without the code of its functions: whoever has their machine code need not check them again.
	hollowFile = "guest-" + launch.GuestCode + ".wasm"
	// fillDirs are folders of those who compile.
	fillDirs = "fill-*.tmp"
	fillTime = time.Hour // after this one was left behind
)

func (e *entry) code() string { return filepath.Join(e.dir, codeDir) }

// open removes what this node did not compile itself. It returns the hollow guest, nil when something is missing.
func (e *entry) open() ([]byte, error) {
	var hollow []byte
	err := e.walk(func(path string) error {
		isHollow := path == filepath.Join(e.dir, hollowFile)
		if !isHollow && filepath.Dir(filepath.Dir(path)) != e.code() {
			return os.Remove(path)
		}
		var want, content []byte
		var err error
		if isHollow { // what is used is what was checked
			if content, err = os.ReadFile(path); err == nil {
				want, err = e.mac(path, bytes.NewReader(content), int64(len(content)))
			}
		} else {
			want, err = e.fileMAC(path)
		}
		if err != nil {
			return err
		}
		have, err := os.ReadFile(path + macExt)
		if err != nil || !hmac.Equal(have, want) {
			return os.Remove(path)
		}
		if isHollow {
			hollow = content
		}
		return nil
	})
	return hollow, err
}

// compiled lists the machine code.
func (e *entry) compiled(dir string) (map[string]fs.FileInfo, error) {
	files := map[string]fs.FileInfo{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && (!d.Type().IsRegular() || strings.HasSuffix(path, macExt)) {
			return nil
		}
		if err != nil {
			return err
		}
		place, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		files[place], err = d.Info()
		return err
	})
	return files, err
}

// fillDir makes a folder to compile in.
func (e *entry) fillDir() (string, error) {
	if err := os.MkdirAll(e.dir, 0o700); err != nil {
		return "", err
	}
	left, err := filepath.Glob(filepath.Join(e.dir, fillDirs))
	if err != nil {
		return "", err
	}
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > fillTime {
			if err := os.RemoveAll(dir); err != nil {
				return "", err
			}
		}
	}
	return os.MkdirTemp(e.dir, fillDirs)
}

// keep copies the machine code of the guest from one folder to the place that it has in the other, where that of the
// hollow guest lies, and writes the hollow guest too. A confined compiler cannot move files from folder to folder.
func (e *entry) keep(full, hollowDir string, hollow []byte) error {
	from, err := e.compiled(full)
	if err != nil {
		return err
	}
	to, err := e.compiled(hollowDir)
	if err != nil {
		return err
	}
	if len(from) != 1 || len(to) != 1 {
		return fmt.Errorf("there are %d files of machine code, and %d", len(from), len(to))
	}
	for src := range from {
		code, err := os.ReadFile(filepath.Join(full, src))
		if err != nil {
			return err
		}
		for dst := range to {
			if err := e.write(filepath.Join(e.code(), dst), code); err != nil {
				return err
			}
		}
	}
	return e.write(filepath.Join(e.dir, hollowFile), hollow)
}

// write writes a file and the MAC of what it wrote, whatever else may lie there.
func (e *entry) write(path string, content []byte) error {
	sum, err := e.mac(path, bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return err
	}
	return errors.Join(replace(path, content), replace(path+macExt, sum))
}

// replace writes a file at once.
func replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // fails once it has been renamed, as it should
	_, err = tmp.Write(content)
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// walk calls fn with each compiled file and removes what is neither file nor folder: a link leads to what may change.
// wazero's unfinished files are left to whoever writes them; it never reads one.
func (e *entry) walk(fn func(path string) error) error {
	return filepath.WalkDir(e.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case d.IsDir() && strings.HasSuffix(path, ".tmp"):
			return fs.SkipDir
		case d.IsDir(), strings.HasSuffix(path, ".tmp"), strings.HasSuffix(path, macExt) && d.Type().IsRegular():
			return nil
		case !d.Type().IsRegular():
			return os.Remove(path)
		}
		return fn(path)
	})
}

// macChunk is what one hash goes over: a processor each takes the next, and they are many.
const macChunk = 1 << 20

func (e *entry) fileMAC(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return e.mac(path, f, info.Size())
}

// mac is over the hashes of a file's chunks, and with them over its length.
func (e *entry) mac(path string, f io.ReaderAt, size int64) ([]byte, error) {
	place, err := filepath.Rel(e.dir, path)
	if err != nil {
		return nil, err
	}
	sums := make([][sha256.Size]byte, (size+macChunk-1)/macChunk)
	errs := make([]error, min(len(sums), runtime.GOMAXPROCS(0)))
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range errs {
		wg.Go(func() {
			chunk := make([]byte, macChunk)
			for i := next.Add(1) - 1; i < int64(len(sums)); i = next.Add(1) - 1 {
				n, err := io.ReadFull(io.NewSectionReader(f, i*macChunk, macChunk), chunk)
				if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
					errs[worker] = err
				}
				sums[i] = sha256.Sum256(chunk[:n])
			}
		})
	}
	wg.Wait()
	h := hmac.New(sha256.New, e.key)
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00%d\x00", e.digest, place, size) // a hash takes everything
	for _, sum := range sums {
		_, _ = h.Write(sum[:])
	}
	return h.Sum(nil), errors.Join(errs...)
}
