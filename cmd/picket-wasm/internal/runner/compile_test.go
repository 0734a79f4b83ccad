package runner

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// withMemory is a guest with one function that does nothing and memory from one number of pages up to another.
func withMemory(limits ...byte) []byte {
	out := []byte("\x00asm\x01\x00\x00\x00\x01\x04\x01\x60\x00\x00\x03\x02\x01\x00\x05")
	out = append(out, byte(len(limits)+2), 1, 1)
	out = append(out, limits...)
	return append(out, "\x07\x05\x01\x01m\x02\x00\x0a\x04\x01\x02\x00\x0b"...)
}

func cached(t *testing.T) Config {
	t.Helper()
	return Config{Cache: t.TempDir(), CacheKey: bytes.Repeat([]byte("k"), KeySize), Memory: 16 << 20, Log: slog.New(slog.DiscardHandler), Stderr: os.Stderr,
		Fatal: func(err error) { t.Error(err) }}
}

// A guest may name a maximum beyond what it gets, and is held to what it gets.
func TestMaximumOfMemory(t *testing.T) {
	cfg := cached(t)
	four := withMemory(1, 0x80, 0x80, 4) // to 65536 pages
	if err := Compile(t.Context(), four, cfg); err != nil {
		t.Fatal(err)
	}
	g := &Guest{cfg: cfg}
	compiled, err := g.compile(t.Context(), four)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close(context.Background())
	if got, _ := compiled.ExportedMemories()["m"].Max(); got != 65536 && got != 256 {
		t.Errorf("at most %d pages", got)
	}
	if _, err := Open(t.Context(), four, cfg); err == nil || errors.As(err, new(*GuestError)) {
		t.Errorf("opened: %v", err) // it has no exports
	}
	// How much it needs to start is a matter of who runs it, not of the guest.
	if err := Compile(t.Context(), withMemory(0x80, 0x80, 1, 0x80, 0x80, 2), cfg); err != nil {
		t.Error(err)
	}
}

func TestReserved(t *testing.T) {
	m := reserve(1, 10)
	small, all := m.Reallocate(1), m.Reallocate(10)
	if len(small) != 1 || len(all) != 10 || &small[0] != &all[0] || m.Reallocate(11) != nil {
		t.Errorf("%d and %d bytes", len(small), len(all))
	}
}

// When the rewritten guest is no valid one, the guest is compiled as it came, and kept.
func TestRewriteThatIsWrong(t *testing.T) {
	before := rewrite
	defer func() { rewrite = before }()
	calls := 0
	rewrite = func([]byte) ([]byte, int) { calls++; return []byte("broken"), 1 }
	cfg := cached(t)
	if err := Compile(t.Context(), withMemory(0, 1), cfg); err != nil || calls != 1 {
		t.Fatalf("%v after %d calls", err, calls)
	}
	hit := 0
	cfg.Cached = func() { hit++ }
	for _, dir := range []string{cfg.Cache, ""} {
		cfg.Cache = dir
		g := &Guest{cfg: cfg}
		if _, err := g.compile(t.Context(), withMemory(0, 1)); err != nil {
			t.Error(err)
		}
		g.Close(context.Background())
	}
	if hit != 1 {
		t.Errorf("found in the cache %d times", hit)
	}
	if err := Compile(t.Context(), []byte("none"), cfg); !errors.As(err, new(*GuestError)) {
		t.Errorf("what is none: %v", err)
	}
}

// Machine code that wazero does not look for is no guest in the cache, however genuine it is.
func TestCachedIsSaidWhenItIsKnown(t *testing.T) {
	cfg, wasm := cached(t), withMemory(0, 1)
	if err := Compile(t.Context(), wasm, cfg); err != nil {
		t.Fatal(err)
	}
	e, err := newEntry(cfg.Cache, cfg.CacheKey, wasm)
	if err != nil {
		t.Fatal(err)
	}
	files, err := e.compiled(e.code())
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	for place := range files { // as another processor would have it
		path := filepath.Join(e.code(), place)
		code, err := os.ReadFile(path)
		if err := errors.Join(err, os.Remove(path), e.write(path+"0", code)); err != nil {
			t.Fatal(err)
		}
	}
	hit := 0
	cfg.Cached = func() { hit++ }
	for want := range 2 { // the second time it is there
		g := &Guest{cfg: cfg}
		if _, err := g.compile(t.Context(), wasm); err != nil || hit != want {
			t.Errorf("found in the cache %d times, not %d: %v", hit, want, err)
		}
		g.Close(context.Background())
	}
}

// Nothing is vouched for but what was just made.
func TestOnlyOwnCodeIsSigned(t *testing.T) {
	cfg, wasm := cached(t), withMemory(0, 1)
	e, err := newEntry(cfg.Cache, cfg.CacheKey, wasm)
	if err != nil {
		t.Fatal(err)
	}
	g := &Guest{cfg: cfg}
	strange := filepath.Join(e.code(), "wazero", "strange")
	if err := replace(strange, []byte("code")); err != nil {
		t.Fatal(err)
	}
	if _, err := g.fill(t.Context(), e, wasm); err != nil || g.cfg.Cache == "" {
		t.Fatal(err)
	}
	defer g.Close(context.Background())
	if _, err := os.Stat(strange + macExt); err == nil {
		t.Error("what lay there was signed")
	}
	if hollow, err := e.open(); err != nil || hollow == nil {
		t.Errorf("%d bytes, %v", len(hollow), err)
	}
	if _, err := os.Stat(strange); err == nil {
		t.Error("what nobody signed is still there")
	}
}
