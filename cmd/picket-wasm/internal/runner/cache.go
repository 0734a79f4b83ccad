package runner

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// check removes what this node did not compile itself and reports whether anything is left.
func (e *entry) check() (kept bool, err error) {
	err = e.walk(func(path string) error {
		want, err := e.mac(path)
		if err != nil {
			return err
		}
		if have, err := os.ReadFile(path + macExt); err == nil && hmac.Equal(have, want) {
			kept = true
			return nil
		}
		return os.Remove(path)
	})
	return kept, err
}

// seal writes the MACs of what was just compiled.
func (e *entry) seal() error {
	return e.walk(func(path string) error {
		sum, err := e.mac(path)
		if err != nil {
			return err
		}
		tmp, err := os.CreateTemp(filepath.Dir(path), "*"+macExt)
		if err != nil {
			return err
		}
		defer os.Remove(tmp.Name()) // fails once it has been renamed, as it should
		_, err = tmp.Write(sum)
		if err := errors.Join(err, tmp.Close()); err != nil {
			return err
		}
		return os.Rename(tmp.Name(), path+macExt)
	})
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
		case d.IsDir(), strings.HasSuffix(path, ".tmp"), strings.HasSuffix(path, macExt) && d.Type().IsRegular():
			return nil
		case !d.Type().IsRegular():
			return os.Remove(path)
		}
		return fn(path)
	})
}

func (e *entry) mac(path string) ([]byte, error) {
	place, err := filepath.Rel(e.dir, path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := hmac.New(sha256.New, e.key)
	_, _ = io.WriteString(h, e.digest+"\x00"+place+"\x00") // a hash takes everything
	if _, err := io.Copy(h, f); err != nil {
		return nil, err
	}
	return h.Sum(nil), nil
}
