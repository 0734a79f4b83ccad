// Package runner compiles a WASM guest and makes it a backend that package serve can serve. In goes the module, already
// verified by whoever hands it over; out come the answers of its exports (see package abi).
//
// The guest has no files, no arguments, no network, and no environment but the size of its memory. It cannot be
// interrupted: a running guest even holds up this process's garbage collector, so that a long call freezes the whole
// process, health checks included. So the deadline of a call is the end of the process: the host kills it, and as a
// second line a timer of the kernel does.
// After a trap the instance cannot be trusted: Fatal ends the process too.
package runner

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/picketwatch/picket/cmd/picket-wasm/internal/gojumps"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/serve"
)

// MaxModule is the largest guest.
const MaxModule = 64 << 20

const pageSize = 64 << 10

// Exit codes of a process whose guest can no longer be used.
const (
	ExitTrap     = 3
	ExitDeadline = 4
)

// TrapError says that the guest ended in a trap: a panic, memory beyond its cap, a bad access.
type TrapError struct{ Reason string }

func (e *TrapError) Error() string { return "the guest trapped: " + e.Reason }

// Config says how to run a guest.
type Config struct {
	// Cache keeps compiled guests in this folder; empty compiles each time. CacheKey, KeySize random bytes that only this
	// node knows, vouches for them: what was not written with it is compiled anew.
	Cache    string
	CacheKey []byte
	// Interpret runs the guest without compiling it: many times slower, but it starts at once.
	Interpret bool
	// Memory caps the guest's memory in bytes.
	Memory uint64
	// Log gets what the guest logs, Stderr what it writes to its own stderr (the stack of a panic).
	Log    *slog.Logger
	Stderr io.Writer
	// Grace is how long a call may go on after the deadline of its context.
	Grace time.Duration
	// Outside makes the outside world of each instance; serve.NewHost when nil.
	Outside func(abi.InstanceConfig) sdk.Host
	// Cached, if set, is called once the guest turns out to be in the cache: the rest takes little time.
	Cached func()
	// Fatal is called when the guest can no longer be used. It does not return.
	Fatal func(error)
}

// Guest is a running guest.
type Guest struct {
	cfg     Config
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	module  api.Module
	memory  api.Memory
	alloc   api.Function
	free    api.Function
	call    api.Function
	guard   *guard
	outside *outside

	turn chan struct{} // holds one element while a call is at work; guards all below
	buf  uint32        // a request's memory in the guest, used again
	size uint32
	args [3]uint64
}

// Open compiles and starts a guest.
func Open(ctx context.Context, wasm []byte, cfg Config) (*Guest, error) {
	if len(wasm) > MaxModule {
		return nil, fmt.Errorf("a guest of %d bytes is larger than %d", len(wasm), MaxModule)
	}
	guard, err := newGuard(cfg.Fatal)
	if err != nil {
		return nil, err
	}
	if cfg.Outside == nil {
		cfg.Outside = func(i abi.InstanceConfig) sdk.Host { return serve.NewHost(i, cfg.Log) }
	}
	g := &Guest{cfg: cfg, guard: guard, outside: newOutside(cfg.Outside), turn: make(chan struct{}, 1)}
	if err := g.open(ctx, wasm); err != nil {
		return nil, errors.Join(err, g.Close(ctx))
	}
	return g, nil
}

func (g *Guest) open(ctx context.Context, wasm []byte) error {
	compiled, err := g.compile(ctx, wasm)
	if err != nil {
		return err
	}
	if err := checkImports(compiled); err != nil {
		return err
	}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, g.runtime); err != nil {
		return fmt.Errorf("prepare WASI: %w", err)
	}
	if err := g.hostModule(ctx); err != nil {
		return fmt.Errorf("prepare the host functions: %w", err)
	}
	// All of the memory is reserved at once, and costs only what is touched: memory that grows step by step is copied at each
	// step, and the copies stay until the runner's own garbage is collected, which made three of one.
	reserving := experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve))
	g.module, err = g.runtime.InstantiateModule(reserving, compiled, wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions("_initialize").
		WithStdout(g.cfg.Stderr).WithStderr(g.cfg.Stderr).
		WithEnv("GOMEMLIMIT", strconv.FormatUint(g.cfg.Memory/10*9, 10)). // else Go lets its garbage grow beyond the cap
		WithSysWalltime().WithSysNanotime().WithSysNanosleep().
		WithRandSource(rand.Reader)) // seeds the guest's maps against colliding keys
	if err != nil {
		return fmt.Errorf("start the guest: %w", err)
	}
	g.memory = g.module.Memory()
	for name, f := range map[string]*api.Function{abi.ExportAlloc: &g.alloc, abi.ExportFree: &g.free, abi.ExportCall: &g.call} {
		if *f = g.module.ExportedFunction(name); *f == nil {
			return fmt.Errorf("the guest does not export %s; is it built with -buildmode=c-shared and does its main package import sdk/serve?", name)
		}
	}
	if g.memory == nil {
		return errors.New("the guest exports no memory")
	}
	return nil
}

// reserved is a guest's memory, which never moves.
type reserved []byte

func reserve(_, most uint64) experimental.LinearMemory { return reserved(make([]byte, most)) }

func (r reserved) Reallocate(size uint64) []byte {
	if size > uint64(len(r)) {
		return nil
	}
	return r[:size]
}

func (reserved) Free() {} // by the garbage collector

// compile makes the runtime and compiles the module in it. A cache that cannot be written only costs time.
func (g *Guest) compile(ctx context.Context, wasm []byte) (wazero.CompiledModule, error) {
	if g.cfg.Interpret || g.cfg.Cache == "" {
		compiled, _, err := g.compileBest(ctx, wasm, "")
		return compiled, err
	}
	e, err := newEntry(g.cfg.Cache, g.cfg.CacheKey, wasm)
	if err != nil {
		return g.withoutCache(ctx, wasm, err)
	}
	hollow, err := e.open()
	if err != nil {
		return g.withoutCache(ctx, wasm, err)
	}
	if hollow != nil {
		compiled, err := g.load(ctx, e, hollow)
		if err != nil {
			return g.withoutCache(ctx, wasm, errors.Join(err, g.Close(ctx)))
		}
		if compiled != nil {
			if g.cfg.Cached != nil {
				g.cfg.Cached()
			}
			return compiled, nil
		}
	}
	return g.fill(ctx, e, wasm)
}

// rewrite gives a guest in Go direct jumps, which the compiler makes faster code of.
var rewrite = gojumps.Rewrite

// compileBest compiles the guest with direct jumps, and as it came if that fails. It returns what it compiled too.
func (g *Guest) compileBest(ctx context.Context, wasm []byte, dir string) (wazero.CompiledModule, []byte, error) {
	if !g.cfg.Interpret {
		if better, jumps := rewrite(wasm); jumps > 0 {
			compiled, err := g.compileModule(ctx, better, dir)
			if err == nil {
				return compiled, better, nil
			}
			g.cfg.Log.Warn("compile the guest as it came", "error", errors.Join(err, g.Close(ctx)))
		}
	}
	compiled, err := g.compileModule(ctx, wasm, dir)
	return compiled, wasm, err
}

// compileModule compiles with wazero's cache in a folder, without when there is none.
func (g *Guest) compileModule(ctx context.Context, wasm []byte, dir string) (compiled wazero.CompiledModule, err error) {
	config := wazero.NewRuntimeConfig()
	if g.cfg.Interpret {
		config = wazero.NewRuntimeConfigInterpreter()
	}
	config = config.WithMemoryLimitPages(uint32(g.cfg.Memory / pageSize))
	g.cache, g.runtime = nil, nil
	if dir != "" {
		cache, err := wazero.NewCompilationCacheWithDir(dir)
		if err != nil {
			return nil, fmt.Errorf("open the cache: %w", err)
		}
		g.cache = cache
		config = config.WithCompilationCache(cache)
	}
	g.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	func() {
		defer func() { // wazero has panics for some modules that are none
			if what := recover(); what != nil {
				err = fmt.Errorf("panic: %v", what)
			}
		}()
		compiled, err = g.runtime.CompileModule(ctx, wasm)
	}()
	if err == nil {
		return compiled, nil
	}
	err = fmt.Errorf("compile the guest: %w", err)
	if dir == "" { // else the cache may be to blame
		err = &GuestError{err}
	}
	return nil, err
}

// load takes the machine code of the guest from the cache; there is none when it returns nothing. wazero compiles what
// it does not find: code of the hollow guest, which nobody must run. It is known by the file that it leaves.
func (g *Guest) load(ctx context.Context, e *entry, hollow []byte) (wazero.CompiledModule, error) {
	before, err := e.compiled(e.code())
	if err != nil || len(before) == 0 {
		return nil, err
	}
	compiled, err := g.compileModule(ctx, hollow, e.code())
	if err != nil {
		return nil, err
	}
	after, err := e.compiled(e.code())
	if err != nil {
		return nil, err
	}
	same := func(a, b fs.FileInfo) bool {
		return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
	}
	if maps.EqualFunc(before, after, same) {
		return compiled, nil
	}
	return nil, errors.Join(g.Close(ctx), os.RemoveAll(e.code()))
}

// fill compiles the guest and keeps its machine code under the name that wazero has for that of the hollow guest.
func (g *Guest) fill(ctx context.Context, e *entry, wasm []byte) (wazero.CompiledModule, error) {
	dir, err := e.fillDir()
	if err != nil {
		return g.withoutCache(ctx, wasm, err)
	}
	defer os.RemoveAll(dir)
	full, hollowDir := filepath.Join(dir, "full"), filepath.Join(dir, "hollow")
	compiled, made, err := g.compileBest(ctx, wasm, full)
	if err != nil {
		return g.withoutCache(ctx, wasm, errors.Join(err, g.Close(ctx)))
	}
	hollow, ok := gojumps.Hollow(made)
	if !ok {
		return compiled, nil
	}
	other := &Guest{cfg: g.cfg}
	_, err = other.compileModule(ctx, hollow, hollowDir)
	if err = errors.Join(err, other.Close(ctx)); err == nil {
		err = e.keep(full, hollowDir, hollow)
	}
	if err != nil {
		g.cfg.Log.Warn("the compiled guest cannot be kept", "cache", g.cfg.Cache, "error", err)
		g.cfg.Cache = ""
	}
	return compiled, nil
}

// withoutCache compiles again after the cache failed. If it is the guest that is bad, it fails again.
func (g *Guest) withoutCache(ctx context.Context, wasm []byte, cause error) (wazero.CompiledModule, error) {
	g.cfg.Log.Warn("compile the guest without the cache", "cache", g.cfg.Cache, "error", cause)
	g.cfg.Cache, g.cache, g.runtime = "", nil, nil
	return g.compile(ctx, wasm)
}

// checkImports names what a guest wants that it cannot have, before the linker does it less clearly.
func checkImports(m wazero.CompiledModule) error {
	for _, f := range m.ImportedFunctions() {
		module, name, _ := f.Import()
		known := module == wasi_snapshot_preview1.ModuleName || module == abi.Module && imports[name]
		if !known {
			return fmt.Errorf("the guest imports %s.%s, which this runner does not offer", module, name)
		}
	}
	if len(m.ImportedMemories()) > 0 {
		return errors.New("the guest imports a memory")
	}
	return nil
}

// Close ends the guest and frees what it used.
func (g *Guest) Close(ctx context.Context) error {
	var errs []error
	if g.runtime != nil {
		errs = append(errs, g.runtime.Close(ctx))
	}
	if g.cache != nil {
		errs = append(errs, g.cache.Close(ctx))
	}
	return errors.Join(errs...)
}

// do runs one operation. The parts of the request lie one after the other in the guest's memory. The answer is a copy.
func (g *Guest) do(ctx context.Context, op abi.Op, parts ...[]byte) ([]byte, error) {
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-g.turn }()
	return g.run(ctx, op, parts)
}

// run is do for whoever has the turn.
func (g *Guest) run(ctx context.Context, op abi.Op, parts [][]byte) ([]byte, error) {
	watched, err := g.watch(ctx)
	if err != nil {
		return nil, err
	}
	defer watched()
	g.outside.ctx = ctx
	g.outside.sweep()
	length, err := g.write(parts)
	if err != nil {
		return nil, err
	}
	result, err := g.invoke(g.call, uint64(op), uint64(g.buf), uint64(length))
	if err != nil {
		return nil, err
	}
	ptr, n := abi.Unpack(result)
	if n > abi.MaxMessage {
		return nil, fmt.Errorf("the guest answers with %d bytes, at most %d are allowed", n, abi.MaxMessage)
	}
	view, ok := g.memory.Read(ptr, n)
	if !ok {
		return nil, fmt.Errorf("the guest answers with %d bytes at %d, which lie outside of its memory", n, ptr)
	}
	return append([]byte(nil), view...), nil
}

// watch lets the guard end the process when the call goes on for too long after its deadline. It returns how to stop.
func (g *Guest) watch(ctx context.Context) (func(), error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return func() {}, nil
	}
	if err := g.guard.arm(max(time.Until(deadline), 0) + g.cfg.Grace); err != nil {
		return nil, err
	}
	return func() {
		if err := g.guard.arm(0); err != nil {
			g.cfg.Fatal(err) // better now than by the timer
		}
	}, nil
}

// write copies the parts into the guest.
func (g *Guest) write(parts [][]byte) (uint32, error) {
	total := 0
	for _, p := range parts {
		total += len(p)
	}
	if total > abi.MaxMessage {
		return 0, fmt.Errorf("a request of %d bytes is larger than %d", total, abi.MaxMessage)
	}
	if uint32(total) > g.size {
		if err := g.grow(uint32(total)); err != nil {
			return 0, err
		}
	}
	at := g.buf
	for _, p := range parts {
		if !g.memory.Write(at, p) {
			return 0, fmt.Errorf("the guest gave memory at %d for %d bytes, which lies outside of its own", g.buf, g.size)
		}
		at += uint32(len(p))
	}
	return uint32(total), nil
}

// grow gets larger memory for requests, with room for the next one.
func (g *Guest) grow(size uint32) error {
	if g.size > 0 {
		if _, err := g.invoke(g.free, uint64(g.buf)); err != nil {
			return err
		}
		g.buf, g.size = 0, 0
	}
	size = min(size+size/4+256, abi.MaxMessage)
	ptr, err := g.invoke(g.alloc, uint64(size))
	if err != nil {
		return err
	}
	if ptr == 0 {
		return fmt.Errorf("the guest has no memory for a request of %d bytes", size)
	}
	g.buf, g.size = uint32(ptr), size
	return nil
}

// invoke calls an export. A trap is fatal: what the guest held is in an unknown state.
func (g *Guest) invoke(f api.Function, args ...uint64) (uint64, error) {
	stack := append(g.args[:0], args...)
	if len(stack) == 0 {
		stack = g.args[:1]
	}
	// The context of the call must not reach the guest's code: wazero would poll it at every loop.
	if err := f.CallWithStack(context.Background(), stack); err != nil {
		trap := &TrapError{firstLine(err)}
		g.cfg.Fatal(trap)
		return 0, trap
	}
	return stack[0], nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
