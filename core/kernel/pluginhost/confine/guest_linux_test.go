package confine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/launch"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/policy"
)

// emptyGuest has one function that does nothing, exported as "f".
var emptyGuest = []byte("\x00asm\x01\x00\x00\x00" + "\x01\x04\x01\x60\x00\x00" + "\x03\x02\x01\x00" + "\x07\x05\x01\x01f\x00\x00" + "\x0a\x04\x01\x02\x00\x0b")

func guest(t *testing.T, module []byte) Guest {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "guest.wasm")
	must(t, os.WriteFile(path, module, 0o600))
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	sum := sha256.Sum256(module)
	return Guest{
		File: f, Digest: hex.EncodeToString(sum[:]), Cache: filepath.Join(dir, "cache"), Key: bytes.Repeat([]byte{7}, 32),
		Helpers: programs, Ceiling: policy.Default(),
	}
}

func TestLevelGuestCache(t *testing.T) {
	best(t)
	g := guest(t, emptyGuest)
	must(t, g.Compile(t.Context()))
	made := map[string]fs.FileInfo{}
	must(t, filepath.WalkDir(g.CacheDir(), func(path string, d fs.DirEntry, err error) error {
		must(t, err)
		info, err := d.Info()
		made[path] = info
		if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
			t.Errorf("%s: user %d, mode %o", path, st.Uid, info.Mode())
		}
		if strings.HasPrefix(d.Name(), "compile-") {
			t.Errorf("%s is left", path)
		}
		return err
	}))
	files := 0
	for path, info := range made {
		if info.Mode().IsRegular() {
			files++
			t.Log(path, info.Size())
		}
	}
	if files < 2 {
		t.Fatalf("no code and MAC in %d places: %v", len(made), made)
	}
	must(t, g.Compile(t.Context())) // nothing to do
	other := g
	other.Key = bytes.Repeat([]byte{8}, 32)
	if other.CacheDir() == g.CacheDir() {
		t.Error("another key has the same cache")
	}

	// What runs a guest sees its own entry, and can change nothing there.
	r := request(t, "")
	r.Binds = []Bind{{Path: g.Entry()}}
	attempts := []string{"list:" + g.Entry(), "list:" + g.CacheDir(), "write:" + g.Entry() + "/x", "write:" + g.CacheDir() + "/x"}
	all := start(t, r, attempts...).results()
	if got := all[attempts[0]]; !got.OK || got.Value == "" {
		t.Errorf("the entry is not seen: %+v", got)
	}
	if got := all[attempts[1]]; got.Value != g.Digest {
		t.Errorf("the cache shows more than the entry: %+v", got)
	}
	for _, a := range attempts[2:] {
		if all[a].OK {
			t.Errorf("%s succeeded", a)
		}
	}
}

func TestLevelGuestThatIsNone(t *testing.T) {
	best(t)
	g := guest(t, []byte("this is no module"))
	err := g.Compile(t.Context())
	if !errors.Is(err, ErrNoGuest) || !strings.Contains(err.Error(), "compile the guest") {
		t.Fatalf("got %v", err)
	}
	left, err := os.ReadDir(g.CacheDir())
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	other := guest(t, emptyGuest)
	other.Digest = strings.Repeat("0", 64)
	if err := other.Compile(t.Context()); err == nil || !strings.Contains(err.Error(), "do not have the digest") {
		t.Errorf("another digest: %v", err)
	}
	g.Digest = "../../etc"
	if err := g.Compile(t.Context()); err == nil {
		t.Error("a digest that is a path was taken")
	}
}

func TestCompilerIsBounded(t *testing.T) {
	var out tail
	for i := range 5000 {
		fmt.Fprintf(&out, "line %d\n", i)
	}
	if _, err := out.Write(bytes.Repeat([]byte("x"), 3*tailSize)); err != nil || len(out.last) != tailSize || cap(out.last) > 4*tailSize {
		t.Errorf("%d bytes are kept in %d, %v", len(out.last), cap(out.last), err)
	}
	fmt.Fprint(&out, "the end")
	if !bytes.HasSuffix(out.last, []byte("xthe end")) || len(out.last) != tailSize {
		t.Errorf("%q", out.last[len(out.last)-20:])
	}

	few, many, large := t.TempDir(), t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(few, "code"), []byte("x"), 0o600))
	for i := range workFiles + 1 {
		must(t, os.WriteFile(filepath.Join(many, fmt.Sprint(i)), nil, 0o600))
	}
	must(t, os.WriteFile(filepath.Join(large, "code"), nil, 0o600))
	must(t, os.Truncate(filepath.Join(large, "code"), workBytes+1))
	for dir, bad := range map[string]bool{few: false, many: true, large: true} {
		if err := checkFolder(dir, workBytes, workFiles); (err != nil) != bad {
			t.Errorf("%s: %v", dir, err)
		}
	}
	ctx, end := context.WithCancelCause(t.Context())
	watchFolder(ctx, end, many)
	if err := context.Cause(ctx); err == nil || !strings.Contains(err.Error(), "the compiler wrote more") {
		t.Errorf("the compilation ends with %v", err)
	}
}

// TestLevelAdopt: links that a broken compiler leaves lead nowhere.
func TestLevelAdopt(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	must(t, os.WriteFile(outside, nil, 0o600))
	inside := filepath.Join(dir, "e")
	must(t, os.MkdirAll(filepath.Join(inside, "d"), 0o700))
	must(t, os.WriteFile(filepath.Join(inside, "d", "f"), []byte("x"), 0o666))
	must(t, os.Symlink(outside, filepath.Join(inside, "link")))
	must(t, syscall.Mkfifo(filepath.Join(inside, "pipe"), 0o666))
	must(t, adopt(inside))
	var names []string
	entries, err := os.ReadDir(inside)
	must(t, err)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"d"}) {
		t.Errorf("left: %v", names)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what a link led to was changed: %v %v", info.Mode(), err)
	}
}

// TestProcessor: code for a processor that can do something else lies elsewhere.
func TestProcessor(t *testing.T) {
	old := features("processor\t: 0\nflags\t\t: fpu sse\nbugs\t: x\n\nprocessor\t: 1\nflags\t\t: fpu sse\n")
	all := []string{old, features("flags : fpu sse avx2\n"), features("Features\t: fp asimd\n"), features("")}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 || features("flags: fpu  sse\n") != old {
		t.Errorf("got %q", all)
	}
	if g := (Guest{Cache: "/c", Key: []byte("k")}); !strings.HasSuffix(g.CacheDir(), "-"+processor()) || !strings.Contains(g.CacheDir(), "-"+launch.GuestCode+"-") {
		t.Error(g.CacheDir())
	}
}

// TestGarbageLimit: a guest's memory, all of which counts as used, leaves its runner room below the limit.
func TestGarbageLimit(t *testing.T) {
	for _, mib := range []int64{4, 256, 2304, 4096} {
		p := &Plan{req: Request{Runtime: registry.RuntimeWASM, Limits: Limits{Memory: mib << 20}}}
		if got := p.garbageLimit(); got < mib<<20+RunnerMemory/2 || got >= p.limits().Memory {
			t.Errorf("%d MiB: %d", mib, got>>20)
		}
		p.req.Runtime = registry.RuntimeProcess
		if got := p.garbageLimit(); got != mib<<20/10*9 {
			t.Errorf("%d MiB for a process: %d", mib, got>>20)
		}
	}
}
