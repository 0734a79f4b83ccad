package gojumps

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

// module is one with these function bodies, of type () -> () each.
func module(bodies ...[]byte) []byte {
	section := func(out []byte, id byte, content []byte) []byte {
		return append(appendU32(append(out, id), uint32(len(content))), content...)
	}
	out := append([]byte("\x00asm"), 1, 0, 0, 0)
	out = section(out, 1, []byte{1, 0x60, 1, 0x7f, 1, 0x7f}) // (i32) -> i32
	functions, code := appendU32(nil, uint32(len(bodies))), appendU32(nil, uint32(len(bodies)))
	for _, b := range bodies {
		functions = append(functions, 0)
		code = append(appendU32(code, uint32(len(b))), b...)
	}
	return section(section(out, 3, functions), sectionCode, code)
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
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	if _, err := r.CompileModule(ctx, wasm); err != nil {
		tb.Fatal(err)
	}
}

// What was valid stays so, and nothing makes it panic.
func FuzzRewrite(f *testing.F) {
	f.Add(loop)
	f.Add([]byte{0, opEnd})
	f.Add([]byte{0, opLoop, voidType, opBlock, voidType, opLocalGet, 0, opBrTable, 1, 0, 0, opEnd, opI32Const, 0, opLocalSet, 0, opBr, 0, opEnd, opUnreachable, opEnd})
	f.Fuzz(func(t *testing.T, body []byte) {
		_, _ = Rewrite(body)
		_, _ = Hollow(body)
		wasm := module(body, loop)
		better, jumps := Rewrite(wasm)
		ctx := context.Background()
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
		defer r.Close(ctx)
		if _, err := r.CompileModule(ctx, wasm); err == nil && jumps > 0 {
			valid(t, better)
		}
	})
}
