// Package sdkbundle is the SDK that this program carries: authors need no checkout, and our modules need not be published
// anywhere. What comes out is a folder in the user's cache: go (a module proxy), python (a wheel) and rust (a crate).
package sdkbundle

import (
	"archive/tar"
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed all:data
var embedded embed.FS

// GoModule is the path of the Go SDK.
const GoModule = "github.com/picketwatch/picket/sdk"

// ErrNone says that the program was built without an SDK.
var ErrNone = errors.New("this build carries no SDK: build picket with `make build`, which packs it in")

// Bundle is an SDK to write plugins with.
type Bundle struct {
	files     fs.FS
	Version   string // of the product
	GoVersion string // of the Go module
	goSum     []byte
}

// Open returns the SDK that this program carries.
func Open() (*Bundle, error) {
	sub, err := fs.Sub(embedded, "data")
	if err != nil {
		return nil, err
	}
	return open(sub)
}

func open(files fs.FS) (*Bundle, error) {
	version, err := fs.ReadFile(files, "VERSION")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	}
	goVersion, goErr := fs.ReadFile(files, "go.version")
	sum, sumErr := fs.ReadFile(files, "go.sum")
	if err := errors.Join(err, goErr, sumErr); err != nil {
		return nil, fmt.Errorf("read the SDK of this program: %w", err)
	}
	return &Bundle{files, strings.TrimSpace(string(version)), strings.TrimSpace(string(goVersion)), sum}, nil
}

// GoSum returns go.sum of a module that needs nothing but the SDK.
func (b *Bundle) GoSum() []byte { return b.goSum }

// GoMod returns go.mod of the SDK.
func (b *Bundle) GoMod() ([]byte, error) {
	return fs.ReadFile(b.files, path.Join("go", GoModule, "@v", b.GoVersion+".mod"))
}

// CacheRoot is the folder below which each version has its own.
func CacheRoot() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for the SDK: %w (set XDG_CACHE_HOME)", err)
	}
	return filepath.Join(dir, "picket", "sdk"), nil
}

// Path returns the folder of the SDK in the user's cache and unpacks it when it is not there yet.
func (b *Bundle) Path() (string, error) {
	root, err := CacheRoot()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, b.Version)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil // it got its name when it was complete
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("unpack the SDK: %w", err)
	}
	temp, err := os.MkdirTemp(root, ".new-")
	if err != nil {
		return "", fmt.Errorf("unpack the SDK: %w", err)
	}
	defer os.RemoveAll(temp)
	fresh := filepath.Join(temp, "sdk")
	if err := b.Extract(fresh); err != nil {
		return "", err
	}
	err = os.Rename(fresh, dir)
	if info, statErr := os.Stat(dir); err != nil && (statErr != nil || !info.IsDir()) { // another picket may have been first
		return "", fmt.Errorf("unpack the SDK: %w", err)
	}
	return dir, nil
}

// Extract unpacks the SDK into a folder that must not hold anything yet.
func (b *Bundle) Extract(dir string) error {
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return fmt.Errorf("unpack the SDK: %s is not empty", dir)
	}
	err := fs.WalkDir(b.files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "README" || name == ".gitignore" {
			return err
		}
		data, err := fs.ReadFile(b.files, name)
		if err != nil {
			return err
		}
		if inner, ok := strings.CutSuffix(name, ".tar"); ok {
			return untar(filepath.Join(dir, filepath.FromSlash(inner)), data)
		}
		return put(filepath.Join(dir, filepath.FromSlash(name)), data)
	})
	if err != nil {
		return fmt.Errorf("unpack the SDK: %w", err)
	}
	return nil
}

func put(file string, data []byte) error {
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o644))
}

func untar(dir string, data []byte) error {
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(head.Name) {
			return fmt.Errorf("%q leads out of the folder", head.Name)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := put(filepath.Join(dir, filepath.FromSlash(head.Name)), content); err != nil {
			return err
		}
	}
}

// Wheel returns the file of the Python package below the SDK's folder.
func Wheel(dir string) (string, error) { return one(filepath.Join(dir, "python", "*.whl"), "Python") }

// Crate returns the folder of the Rust crate below the SDK's folder.
func Crate(dir string) (string, error) {
	file, err := one(filepath.Join(dir, "rust", "*", "Cargo.toml"), "Rust")
	return filepath.Dir(file), err
}

func one(pattern, language string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("this build of picket carries no SDK for %s", language)
	}
	return found[0], nil
}

// GoEnv returns the settings with which the Go tools find the SDK: those in environ, with the SDK's folders in front.
// Versions that earlier pickets left in the cache are found too.
func (b *Bundle) GoEnv(environ []string) ([]string, error) {
	dir, err := b.Path()
	if err != nil {
		return nil, err
	}
	proxies := []string{fileURL(filepath.Join(dir, "go"))}
	older, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "*", "go"))
	if err != nil {
		return nil, err
	}
	for _, folder := range older {
		if u := fileURL(folder); u != proxies[0] {
			proxies = append(proxies, u)
		}
	}
	before := goSettings(environ)
	return []string{
		"GOPROXY=" + strings.Join(append(proxies, words(before["GOPROXY"])...), ","),
		"GONOSUMDB=" + strings.Join(append(words(before["GONOSUMDB"]), GoModule), ","),
	}, nil
}

// goSettings asks the Go tools what is set by files and by environ.
func goSettings(environ []string) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"GOPROXY", "GONOSUMDB"} {
		cmd := exec.Command("go", "env", name)
		cmd.Env = environ
		if text, err := cmd.Output(); err == nil {
			out[name] = strings.TrimSpace(string(text))
		}
	}
	if out["GOPROXY"] == "" {
		out["GOPROXY"] = "direct"
	}
	return out
}

// words splits a list and leaves out what earlier settings of ours put there.
func words(list string) []string {
	own := func(s string) bool { return s == "" || s == GoModule || strings.Contains(s, "/picket/sdk/") }
	return slices.DeleteFunc(strings.Split(list, ","), own)
}

func fileURL(dir string) string {
	slashed := filepath.ToSlash(dir)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a drive letter
	}
	return (&url.URL{Scheme: "file", Path: slashed}).String()
}
