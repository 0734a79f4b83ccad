package gates

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/agentpack"
	"github.com/picketwatch/picket/sdk"
)

// archive looks at what each artifact really is: that it is what the descriptor says, and nothing that gets out of its
// place when it is unpacked or started.
func (c *check) archive(_ context.Context, f *finding) {
	for _, a := range c.Descriptor.Artifacts {
		data, err := c.read(a)
		if err != nil {
			f.failf("%v", err)
			continue
		}
		if err := guard(func() { c.artifact(f, a, data) }); err != nil {
			f.failf("%s: %v", label(a), err)
		}
	}
	f.sumf("%s: what the descriptor says", plural(len(c.Descriptor.Artifacts), "artifact"))
}

func (c *check) artifact(f *finding, a registry.Artifact, data []byte) {
	m := &c.Descriptor.Manifest
	switch {
	case m.Kind == sdk.KindModel:
		checkModel(f, data)
	case m.Kind == registry.KindAgent:
		checkAgent(f, a, data)
	case a.Runtime == registry.RuntimeFile:
		checkData(f, data)
	case a.Runtime == registry.RuntimeWASM:
		if _, err := wasmImports(data); err != nil {
			f.failf("%s: %v", label(a), err)
		}
	case m.Interpreter != "":
		checkZip(f, label(a), data)
	default:
		checkProgram(f, a, data)
	}
}

// size wonders at what is far larger than its like.
func (c *check) size(_ context.Context, f *finding) {
	total, limit := int64(0), map[string]int64{registry.RuntimeProcess: 64 << 20, registry.RuntimeWASM: 32 << 20, registry.RuntimeFile: 256 << 20}
	for _, a := range c.Descriptor.Artifacts {
		total += a.Size
		if most := limit[a.Runtime]; a.Size > most {
			f.warnf("%s has %s; more than %s is unusual", label(a), mebibytes(a.Size), mebibytes(most))
		}
	}
	f.sumf("%s in %s", mebibytes(total), plural(len(c.Descriptor.Artifacts), "artifact"))
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

var errCut = errors.New("it is cut off")

// checkAgent looks into the archive of an agent: its programs are for the platform, and nothing else is in it.
func checkAgent(f *finding, a registry.Artifact, data []byte) {
	err := agentpack.Read(bytes.NewReader(data), a.OS, func(_ string, _ int64, r io.Reader) error {
		program, err := io.ReadAll(r)
		if err == nil {
			checkProgram(f, a, program)
		}
		return err
	})
	if err != nil {
		f.failf("%s/%s: %v", a.OS, a.Arch, err)
	}
}

// checkData looks at a data pack: no program, and nothing that runs code when it is read.
func checkData(f *finding, data []byte) {
	switch {
	case bytes.HasPrefix(data, []byte("\x7fELF")), bytes.HasPrefix(data, []byte("MZ")), bytes.HasPrefix(data, []byte("\x00asm")),
		bytes.HasPrefix(data, []byte("#!")):
		f.failf("it is a program; a data pack is read, never run")
	case bytes.HasPrefix(data, []byte("PK\x03\x04")):
		checkZip(f, "file", data)
	}
	if why := isPickle(data); why != "" {
		f.failf("it is %s, which runs code when it is read", why)
	}
	if with := sealed(data); with != "" {
		f.failf(notLookedInto, with)
	}
}
