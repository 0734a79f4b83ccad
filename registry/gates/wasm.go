package gates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// wasi is the one foreign module that a host offers to guests.
const wasi = "wasi_snapshot_preview1"

// always are the functions of the host that need no permission; needs are the others with what each of them is for.
var (
	always = []string{
		abi.ImportLog, abi.ImportNow, abi.ImportTake, abi.ImportStateGet, abi.ImportStatePut, abi.ImportRead, abi.ImportWrite,
		abi.ImportSeek, abi.ImportDeadline, abi.ImportClose,
	}
	needs = map[string][]string{
		abi.ImportDial:  {sdk.CapNetDial, sdk.CapUnixConnect},
		abi.ImportFetch: {sdk.CapNetDial},
		abi.ImportOpen:  {sdk.CapFSRead, sdk.CapFSWrite},
	}
)

// imports compares what a guest can ask of its host with what the manifest asks for. The host checks every call as well,
// so this says what to expect of a guest and does not protect from it.
func (c *check) imports(_ context.Context, f *finding) {
	total := 0
	for _, a := range c.Descriptor.Artifacts {
		if a.Runtime != registry.RuntimeWASM {
			continue
		}
		data, err := c.read(a)
		if err != nil {
			f.failf("%v", err)
			continue
		}
		list, err := wasmImports(data)
		if err != nil {
			f.failf("%v", err)
			continue
		}
		total += len(list)
		c.compareImports(f, list)
	}
	f.sumf("%s, all of the host or of WASI", plural(total, "import"))
}

func (c *check) compareImports(f *finding, list []wasmImport) {
	var functions []string
	for _, i := range list {
		switch {
		case i.Kind != importFunction:
			f.failf("it imports %s.%s, which is no function", i.Module, i.Name)
		case i.Module == wasi:
		case i.Module != abi.Module:
			f.failf("it imports %s.%s: no host has a module of that name", i.Module, i.Name)
		case !slices.Contains(always, i.Name) && needs[i.Name] == nil:
			f.failf("it imports %s.%s, which no host offers", i.Module, i.Name)
		default:
			functions = append(functions, i.Name)
		}
	}
	// The SDK for Go brings all of them along, used or not, as the linker cannot tell.
	whole := len(functions) == len(always)+len(needs)
	for _, name := range functions {
		caps := needs[name]
		asks := func(p sdk.Permission) bool { return slices.Contains(caps, p.Cap) }
		switch {
		case caps == nil || slices.ContainsFunc(c.Descriptor.Manifest.Permissions, asks):
		case name == abi.ImportOpen && len(c.Descriptor.Manifest.Requires) > 0: // models are opened by it as well
		case whole:
			f.notef("%s comes with the SDK; without a permission %s the host refuses it", name, strings.Join(caps, " or "))
		default:
			f.failf("it imports %s and asks for no permission %s", name, strings.Join(caps, " or "))
		}
	}
}

// wasmImport is one line of a guest's import section.
type wasmImport struct {
	Module, Name string
	Kind         byte
}

const importFunction = 0

// The bounds of what is read of a guest.
const (
	maxImports  = 1024
	maxWASMName = 256
)

var errWASM = errors.New("not a WebAssembly module")

// wasmImports reads the import section of a guest. Sections before it are stepped over, those after it are not looked at
// beyond their order.
func wasmImports(data []byte) ([]wasmImport, error) {
	if !bytes.HasPrefix(data, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil, errWASM
	}
	r := &wasmReader{data: data[8:]}
	var list []wasmImport
	for last := byte(0); len(r.data) > 0 && r.err == nil; {
		id := r.byte()
		section := &wasmReader{data: r.bytes(r.uint())}
		if r.err != nil {
			break
		}
		if id > 13 || id != 0 && id == last {
			return nil, fmt.Errorf("%w: section %d stands where none can", errWASM, id)
		}
		if id != 0 {
			last = id
		}
		if id != 2 {
			continue
		}
		n := section.uint()
		if n > maxImports {
			return nil, fmt.Errorf("%d imports, at most %d are allowed", n, maxImports)
		}
		for range n {
			list = append(list, section.wasmImport())
		}
		if section.err == nil && len(section.data) > 0 {
			section.err = errWASM
		}
		if section.err != nil {
			return nil, fmt.Errorf("its imports: %w", section.err)
		}
	}
	return list, r.err
}

// wasmCustom returns the custom section of a name, nil without one or in what is no module.
func wasmCustom(data []byte, name string) []byte {
	if !bytes.HasPrefix(data, []byte("\x00asm\x01\x00\x00\x00")) {
		return nil
	}
	r := &wasmReader{data: data[8:]}
	for len(r.data) > 0 {
		id := r.byte()
		section := &wasmReader{data: r.bytes(r.uint())}
		if r.err != nil {
			return nil
		}
		if id == 0 && section.name() == name && section.err == nil {
			return section.data
		}
	}
	return nil
}

// wasmReader reads the encoding of WebAssembly. After an error it gives zeros.
type wasmReader struct {
	data []byte
	err  error
}

func (r *wasmReader) bytes(n uint32) []byte {
	if uint64(n) > uint64(len(r.data)) {
		r.err = errCut
	}
	if r.err != nil {
		return nil
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b
}

func (r *wasmReader) byte() byte {
	if b := r.bytes(1); r.err == nil {
		return b[0]
	}
	return 0
}

// uint reads an unsigned LEB128 number of 32 bits.
func (r *wasmReader) uint() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := r.byte()
		v |= uint64(b&0x7f) << shift
		if b&0x80 == 0 {
			if v > 1<<32-1 {
				break
			}
			return uint32(v)
		}
	}
	if r.err == nil {
		r.err = errWASM
	}
	return 0
}

func (r *wasmReader) name() string {
	n := r.uint()
	if n > maxWASMName {
		r.err = fmt.Errorf("a name has %d bytes", n)
	}
	return string(r.bytes(n))
}

func (r *wasmReader) wasmImport() wasmImport {
	i := wasmImport{Module: r.name(), Name: r.name(), Kind: r.byte()}
	switch i.Kind {
	case importFunction, 4: // a function's or a tag's type
		if i.Kind == 4 {
			r.byte()
		}
		r.uint()
	case 1: // a table
		r.byte()
		r.limits()
	case 2: // a memory
		r.limits()
	case 3: // a global
		r.bytes(2)
	default:
		if r.err == nil {
			r.err = errWASM
		}
	}
	return i
}

func (r *wasmReader) limits() {
	flags := r.byte()
	r.uint()
	if flags&1 != 0 {
		r.uint()
	}
}
