package gojumps

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

func build(tb testing.TB, dir string) []byte {
	tb.Helper()
	file := filepath.Join(tb.TempDir(), "out.wasm")
	cmd := exec.Command("go", "build", "-ldflags=-s -w", "-o", file, dir)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("go build: %v\n%s", err, out)
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	return wasm
}

// run runs a command and returns what it prints.
func run(tb testing.TB, wasm []byte) string {
	tb.Helper()
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, r); err != nil {
		tb.Fatal(err)
	}
	var out bytes.Buffer
	_, err := r.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithStdout(&out).WithStderr(&out).WithSysNanotime().WithSysWalltime())
	if err != nil && !strings.Contains(err.Error(), "exit_code(0)") {
		tb.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
}

// A program with all control flow that Go has does the same afterwards.
func TestSameProgram(t *testing.T) {
	wasm := build(t, "./testdata/flow")
	better, jumps := Rewrite(wasm)
	// 9 of 10 jumps are direct ones in a program of today's Go; when a newer one is built otherwise, this says so.
	if old := bytes.Count(wasm, []byte{opI32Const}); jumps < 5000 || jumps > old {
		t.Errorf("%d direct jumps", jumps)
	}
	want, got := run(t, wasm), run(t, better)
	if len(want) < 500 || want != got {
		t.Errorf("it printed\n%s\nand now\n%s", want, got)
	}
	again, jumps := Rewrite(better)
	if jumps > 0 && run(t, again) != want {
		t.Error("done twice it is another program")
	}
}

func TestHollow(t *testing.T) {
	wasm := build(t, "./testdata/flow")
	hollow, ok := Hollow(wasm)
	if !ok || len(hollow) >= len(wasm)*2/3 {
		t.Fatalf("%v, %d bytes of %d", ok, len(hollow), len(wasm))
	}
	ctx := context.Background()
	r := wazero.NewRuntime(ctx)
	defer r.Close(ctx)
	full, err := r.CompileModule(ctx, wasm)
	if err != nil {
		t.Fatal(err)
	}
	empty, err := r.CompileModule(ctx, hollow)
	if err != nil {
		t.Fatal(err)
	}
	if len(empty.ImportedFunctions()) != len(full.ImportedFunctions()) || len(empty.ExportedFunctions()) != len(full.ExportedFunctions()) {
		t.Error("the outside of the module has changed")
	}
}

// i32ToI32 is the type of Go's functions.
var i32ToI32 = []byte{1, i32Type, 1, i32Type}

// module is one with Go's build ID, a page of memory and these function bodies. The first is exported as "f".
func module(bodies ...[]byte) []byte {
	return typedModule(append(appendU32(nil, uint32(len(buildID))), buildID+"an id"...), i32ToI32, bodies...)
}

// typedModule is one with a custom section and functions of a type.
func typedModule(custom, functionsType []byte, bodies ...[]byte) []byte {
	section := func(out []byte, id byte, content []byte) []byte {
		return append(appendU32(append(out, id), uint32(len(content))), content...)
	}
	out := append([]byte("\x00asm"), 1, 0, 0, 0)
	if custom != nil {
		out = section(out, sectionCustom, custom)
	}
	out = section(out, sectionType, append([]byte{1, functionType}, functionsType...))
	functions, code := appendU32(nil, uint32(len(bodies))), appendU32(nil, uint32(len(bodies)))
	for _, b := range bodies {
		functions = append(functions, 0)
		code = append(appendU32(code, uint32(len(b))), b...)
	}
	out = section(section(out, sectionFunction, functions), 5, []byte{1, 0, 1})
	return section(section(out, 7, []byte{1, 1, 'f', 0, 0}), sectionCode, code)
}

// loop counts local 1 to ten with the jumps that Go makes: segment 0 sets it, 1 adds to it and 2 asks for more.
var loop = []byte{
	1, 1, 0x7f, // one variable
	opLoop, voidType, opBlock, voidType, opBlock, voidType, opBlock, voidType,
	opLocalGet, 0, opBrTable, 3, 0, 1, 2, 0,
	opEnd, // segment 0
	opI32Const, 0, opLocalSet, 1,
	opI32Const, 2, opLocalSet, 0, opBr, 2,
	opEnd, // segment 1
	opLocalGet, 1, opI32Const, 1, 0x6a, opLocalSet, 1,
	opEnd, // segment 2
	opLocalGet, 1, opI32Const, 10, 0x48, opIf, voidType,
	opI32Const, 1, opLocalSet, 0, opBr, 1,
	opEnd,
	opLocalGet, 1, opReturn,
	opEnd, // of the dispatch
	opUnreachable, opEnd,
}

func TestLoop(t *testing.T) {
	f := parse(loop)
	if f == nil {
		t.Fatal("it is not understood")
	}
	units := f.units()
	if len(units) != 2 || units[1].head != 2 || len(units[1].loop) != 2 {
		t.Errorf("it has the units %+v", units)
	}
	better, jumps := Rewrite(module(loop))
	if jumps != 2 {
		t.Fatalf("%d direct jumps", jumps)
	}
	valid(t, better)
}

func valid(tb testing.TB, wasm []byte) {
	tb.Helper()
	if err := compile(tb.Context(), wasm); err != nil {
		tb.Fatal(err)
	}
}

// compile takes a panic for an error: wazero has some for what is no module.
func compile(ctx context.Context, wasm []byte) (err error) {
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("panic: %v", what)
		}
	}()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	_, err = r.CompileModule(ctx, wasm)
	return err
}

// Only what Go's compiler promises of its functions makes the jumps right, so nothing else is touched.
func TestOnlyGo(t *testing.T) {
	goID := append(appendU32(nil, uint32(len(buildID))), buildID...)
	for name, wasm := range map[string][]byte{
		"no build ID":      typedModule(nil, i32ToI32, loop),
		"another section":  typedModule([]byte("\x04name"), i32ToI32, loop),
		"no argument":      typedModule(goID, []byte{0, 1, i32Type}, loop),
		"another argument": typedModule(goID, []byte{1, 0x7e, 1, i32Type}, loop),
	} {
		if out, jumps := Rewrite(wasm); jumps > 0 || !bytes.Equal(out, wasm) {
			t.Errorf("%s: %d direct jumps", name, jumps)
		}
	}
	if _, jumps := Rewrite(typedModule(goID, i32ToI32, loop)); jumps != 2 {
		t.Errorf("Go's: %d direct jumps", jumps)
	}
}

// cycle goes through its two segments, of which both lead to the other, behind the code in front and with such a table,
// where first is the pc of the first segment. It adds up what it sees.
func cycle(before, table []byte, first byte) []byte {
	return slices.Concat([]byte{1, 1, i32Type}, before, []byte{
		opLoop, voidType, opBlock, voidType, opBlock, voidType,
		opLocalGet, 0, opBrTable,
	}, table, []byte{
		opEnd, // segment 0
		opLocalGet, 1, opI32Const, 5, 0x6a, opLocalSet, 1,
		opI32Const, 1 - first, opLocalSet, 0, opBr, 1,
		opEnd, // segment 1
		opLocalGet, 1, opI32Const, 7, 0x6c, opI32Const, 1, 0x6a, opLocalSet, 1,
		opLocalGet, 1, opI32Const, 0xe4, 0, 0x48, opIf, voidType, // below 100
		opI32Const, first, opLocalSet, 0, opBr, 1,
		opEnd,
		opLocalGet, 1, opReturn,
		opEnd,
		opUnreachable, opEnd,
	})
}

// The dispatch may lead to another segment than the first at the start.
func TestWhereItIsEntered(t *testing.T) {
	for name, body := range map[string][]byte{
		"pc set in front": cycle([]byte{opI32Const, 1, opLocalSet, 0}, []byte{2, 0, 1, 0}, 0),
		"pc set by tee":   cycle([]byte{opI32Const, 1, opLocalTee, 0, 0x1a}, []byte{2, 0, 1, 0}, 0),
		"table":           cycle(nil, []byte{2, 1, 0, 0}, 1),
		"first":           cycle(nil, []byte{2, 0, 1, 0}, 0),
	} {
		if out, ok := call(t, module(body), 0, time.Minute); !ok || out.trap != "" {
			t.Errorf("%s: %+v, %v", name, out, ok)
		}
		same(t, name, module(body), 0)
	}
}

// A constant of -1 is not 127: the dispatch leads it to its last target.
func TestNegativePC(t *testing.T) {
	table := append(append([]byte{0x80, 1}, bytes.Repeat([]byte{1}, 128)...), 2) // all pc to segment 1, what is beyond to 2
	body := slices.Concat([]byte{
		0, opLoop, voidType, opBlock, voidType, opBlock, voidType, opBlock, voidType, opLocalGet, 0, opBrTable,
	}, table, []byte{
		opEnd, opUnreachable, // segment 0
		opEnd, opI32Const, 0x7f, opLocalSet, 0, opBr, 1, // segment 1
		opEnd, opI32Const, 42, opReturn, // segment 2
		opEnd, opUnreachable, opEnd,
	})
	same(t, "negative", module(body), 0)
}

// outcome is what a call came to.
type outcome struct {
	result uint64
	trap   string
	memory string
}

// call calls "f" of a module. It says no when the module is not valid or the call goes on for too long.
func call(tb testing.TB, wasm []byte, pc uint32, limit time.Duration) (out outcome, ok bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true))
	defer r.Close(context.Background())
	m, err := r.Instantiate(ctx, wasm)
	if err != nil {
		return out, false
	}
	result, err := m.ExportedFunction("f").Call(ctx, uint64(pc))
	if ctx.Err() != nil {
		return out, false
	}
	if err != nil {
		out.trap, _, _ = strings.Cut(err.Error(), "\n")
	} else {
		out.result = result[0]
	}
	if memory, ok := m.Memory().Read(0, m.Memory().Size()); ok {
		sum := sha256.Sum256(memory)
		out.memory = string(sum[:])
	}
	return out, true
}

// same calls a module and its rewritten form with the same pc. What ends in the first has to end likewise in the other.
func same(tb testing.TB, name string, wasm []byte, pc uint32) {
	tb.Helper()
	better, jumps := Rewrite(wasm)
	if jumps == 0 {
		return
	}
	want, ok := call(tb, wasm, pc, 200*time.Millisecond)
	if !ok {
		return
	}
	if got, ok := call(tb, better, pc, 20*time.Second); !ok || got != want {
		tb.Errorf("%s: pc %d came to %+v, and now %+v (%v)\n%x", name, pc, want, got, ok, wasm)
	}
}

// What was valid stays so and does the same, and nothing makes it panic.
func FuzzRewrite(f *testing.F) {
	f.Add(loop)
	f.Add(cycle(nil, []byte{2, 0, 1, 0}, 0))
	f.Add(cycle(nil, []byte{2, 1, 0, 0}, 1))
	f.Add(cycle([]byte{opI32Const, 1, opLocalSet, 0}, []byte{2, 0, 1, 0}, 0))
	f.Add([]byte{1, '0', 'c'}) // makes wazero panic
	f.Add([]byte{0, opEnd})
	f.Add([]byte{0, opLoop, voidType, opBlock, voidType, opLocalGet, 0, opBrTable, 1, 0, 0, opEnd, opI32Const, 0, opLocalSet, 0, opBr, 0, opEnd, opUnreachable, opEnd})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Rewrite(body)
		_, _ = Hollow(body)
		wasm := module(body, loop)
		better, _ := Rewrite(wasm)
		if parse(body) == nil || compile(t.Context(), wasm) != nil {
			return
		}
		valid(t, better)
		same(t, "body", wasm, 0)
	})
}

// dispatched makes a function with a dispatch of what the bytes say: each segment notes that it ran, and then goes on,
// jumps, jumps if a bit of the notes is set, or is a place where a goroutine may go on. It ends after 64 segments.
func dispatched(plan []byte) []byte {
	next := func() byte {
		if len(plan) == 0 {
			return 0
		}
		b := plan[0]
		plan = plan[1:]
		return b
	}
	n := 2 + int(next()%9)
	body := []byte{1, 2, i32Type} // local 1 is the notes, local 2 counts
	body = append(body, opBlock, voidType, opLoop, voidType)
	for range n {
		body = append(body, opBlock, voidType)
	}
	body = append(body, opLocalGet, 0, opBrTable, byte(n))
	for i := range n {
		body = append(body, byte((i+int(next()%16)/15)%n)) // mostly in order, as with Go
	}
	body = append(body, byte(n-1))
	for i := range n {
		outer := byte(n - 1 - i) // the dispatch
		body = append(body, opEnd,
			opLocalGet, 2, opI32Const, 1, 0x6a, opLocalTee, 2, opI32Const, 0xc0, 0, 0x4a, opIf, voidType, opLocalGet, 1, opReturn, opEnd, // 64
			opLocalGet, 1, opI32Const, 33, 0x6c, opI32Const, byte(i+1), 0x6a, opLocalSet, 1)
		for range 1 + next()%3 {
			target := next() % byte(n)
			switch next() % 6 {
			case 0, 1:
				body = append(body, opLocalGet, 1, opI32Const, 1<<(target%5), 0x71, opIf, voidType, opI32Const, target, opLocalSet, 0, opBr, outer+1, opEnd)
			case 2:
				body = append(body, opLocalGet, 1, opI32Const, 1<<(target%5), 0x71, opIf, voidType, opElse,
					opBlock, voidType, opI32Const, target, opLocalSet, 0, opBr, outer+2, opEnd, opEnd)
			case 3:
				body = append(body, opLocalGet, 1, opI32Const, 20, 0x76, opI32Const, 7, 0x71, 0x45, opBrIf, outer+1) // like the end of a call
			case 4:
				body = append(body, opI32Const, target, opLocalSet, 0, opBr, outer)
			}
		}
	}
	return append(body, opEnd, opUnreachable, opEnd, opLocalGet, 1, opEnd)
}

// Whatever the jumps: each entry that the dispatch may have leads through the same segments.
func FuzzSame(f *testing.F) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		plan := make([]byte, 60)
		for i := range plan {
			plan[i] = byte(random.Uint32())
		}
		f.Add(plan)
	}
	f.Fuzz(func(t *testing.T, plan []byte) {
		body := dispatched(plan)
		valid(t, module(body))
		if better, jumps := Rewrite(module(body)); jumps > 0 {
			valid(t, better)
		}
		g := parse(body)
		if g == nil {
			return
		}
		for pc, segment := range g.table {
			if pc == 0 || g.segments[segment].entered {
				same(t, "plan", module(body), uint32(pc))
			}
		}
	})
}

// What a function costs grows with its size, and what is larger than all of Go's stays as it is.
func TestLargeFunctions(t *testing.T) {
	jumps := func(n, each int) []byte { // each segment has so many jumps to anywhere and one back
		body := []byte{0, opLoop, voidType}
		body = append(body, bytes.Repeat([]byte{opBlock, voidType}, n)...)
		body = appendU32(append(body, opLocalGet, 0, opBrTable), uint32(n))
		for i := range n {
			body = appendU32(body, uint32(i))
		}
		body = append(appendU32(body, 0), opEnd)
		jump := func(to, depth int) {
			body = append(body, opI32Const, byte(to)|0x80, byte(to>>7)|0x80, byte(to>>14), opLocalSet, 0, opBr)
			body = appendU32(body, uint32(depth))
		}
		for i := range n {
			for k := range each {
				body = append(body, opBlock, voidType)
				jump((i*7+k*n/each)%n, n-i)
				body = append(body, opEnd)
			}
			jump(max(i-1, 0), n-1-i)
			body = append(body, opEnd)
		}
		return append(body, opUnreachable, opEnd)
	}
	large := jumps(1000, 75)
	f := parse(large)
	if f == nil || len(large) > maxFunction {
		t.Fatalf("%d bytes are not understood", len(large))
	}
	// There are 77 million looks to be had at the branches, at more than 800 kB with 64 for each byte.
	if f.units(); f.work > 0 || f.work < -f.branches-len(f.segments) {
		t.Errorf("%d looks are left for %d bytes", f.work, len(large))
	}
	tooLarge := module(jumps(1000, 150))
	if out, n := Rewrite(tooLarge); n > 0 || !bytes.Equal(out, tooLarge) {
		t.Errorf("%d direct jumps in %d bytes", n, len(tooLarge))
	}
}
