package gates

import (
	"archive/zip"
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/binary"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Time is short for what the tables need.
type Time = time.Time

var cardTime = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)

func TestProgram(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("looks at this test's own ELF file")
	}
	good := program(t)
	file, err := elf.NewFile(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	// segment returns where the header of the first segment of a type lies.
	segment := func(kind elf.ProgType) int {
		for i, p := range file.Progs {
			if p.Type == kind {
				return int(binary.LittleEndian.Uint64(good[32:])) + i*56
			}
		}
		return -1
	}
	load := segment(elf.PT_LOAD)
	other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]
	for name, c := range map[string]struct {
		change func(data []byte) []byte
		desc   func(*registry.Descriptor)
		state  string
		want   string
	}{
		"a static program":       {func(d []byte) []byte { return d }, nil, registry.GatePassed, "1 artifact"},
		"a script":               {func([]byte) []byte { return []byte("#!/bin/sh\nrm -rf /\n") }, nil, registry.GateFailed, "no ELF program"},
		"nothing":                {func([]byte) []byte { return nil }, nil, registry.GateFailed, "no ELF program"},
		"cut off":                {func(d []byte) []byte { return d[:len(d)/2] }, nil, registry.GateFailed, ""},
		"for another processor":  {func(d []byte) []byte { return d }, func(d *registry.Descriptor) { d.Artifacts[0].Arch = other }, registry.GateFailed, "the program is for " + runtime.GOARCH},
		"writable and runnable":  {func(d []byte) []byte { d[load+4] = 7; return d }, nil, registry.GateFailed, "writable and executable"},
		"beyond the file":        {func(d []byte) []byte { d[load+39] = 0x7f; return d }, nil, registry.GateFailed, ""},
		"a library":              {func(d []byte) []byte { d[16] = byte(elf.ET_REL); return d }, nil, registry.GateFailed, ""},
		"for another system":     {func(d []byte) []byte { return d }, func(d *registry.Descriptor) { d.Artifacts[0].OS = "windows" }, registry.GateFailed, "no PE program"},
		"for a system we do not": {func(d []byte) []byte { return d }, func(d *registry.Descriptor) { d.Artifacts[0].OS = "plan9" }, registry.GateNotChecked, "plan9"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, release(t, c.desc, c.change(bytes.Clone(good))), Config{})
			wants(t, r, registry.GateArchive, c.state, c.want)
		})
	}
	if shell, err := os.ReadFile("/bin/sh"); err == nil {
		r := run(t, release(t, nil, shell), Config{})
		wants(t, r, registry.GateArchive, registry.GateWarning, "on the node")
		loader := bytes.Replace(shell, []byte("/lib"), []byte("/tmp"), 1)
		wants(t, run(t, release(t, nil, loader), Config{}), registry.GateArchive, registry.GateFailed, "loaded by")
	}
}

type zipFile struct {
	name string
	data string
	mode fs.FileMode
}

func zipped(tb testing.TB, files ...zipFile) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(0o644 | f.mode)
		out, err := w.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := out.Write([]byte(f.data)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func TestArchiveOfScripts(t *testing.T) {
	for name, c := range map[string]struct {
		data        []byte
		state, want string
	}{
		"good":            {zipped(t, zipFile{name: "__main__.py", data: "print()"}, zipFile{name: "a/b.py"}), registry.GatePassed, "1 artifact"},
		"upwards":         {zipped(t, zipFile{name: "../../etc/cron.d/x"}), registry.GateFailed, "leads out"},
		"hidden upwards":  {zipped(t, zipFile{name: "a/../../x"}), registry.GateFailed, "leads out"},
		"absolute":        {zipped(t, zipFile{name: "/etc/passwd"}), registry.GateFailed, "absolute"},
		"backslashes":     {zipped(t, zipFile{name: `..\x`}), registry.GateFailed, "another system"},
		"a drive":         {zipped(t, zipFile{name: "C:x"}), registry.GateFailed, "another system"},
		"a link":          {zipped(t, zipFile{name: "x", data: "/etc/passwd", mode: fs.ModeSymlink}), registry.GateFailed, "link"},
		"setuid":          {zipped(t, zipFile{name: "x", mode: fs.ModeSetuid}), registry.GateFailed, "setuid"},
		"a device":        {zipped(t, zipFile{name: "x", mode: fs.ModeDevice}), registry.GateFailed, "neither a file"},
		"twice":           {zipped(t, zipFile{name: "a.py"}, zipFile{name: "A.py"}), registry.GateFailed, "twice"},
		"a bomb":          {zipped(t, zipFile{name: "x", data: strings.Repeat("\x00", 8<<20)}), registry.GateFailed, "bomb"},
		"many bombs":      {zipped(t, bombs(10)...), registry.GateFailed, "bomb"},
		"a pickle inside": {zipped(t, zipFile{name: "__main__.py"}, zipFile{name: "model.bin", data: "\x80\x04\x95\x10"}), registry.GateFailed, "pickle"},
		"no archive":      {[]byte("import os"), registry.GateFailed, "no zip archive"},
		"cut off":         {zipped(t, zipFile{name: "__main__.py", data: "print()"})[:60], registry.GateFailed, "no zip archive"},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, run(t, release(t, asPython, c.data), Config{}), registry.GateArchive, c.state, c.want)
		})
	}
}

func bombs(n int) []zipFile {
	files := make([]zipFile, n)
	for i := range files {
		files[i] = zipFile{name: string(rune('a'+i%26)) + strings.Repeat("x", i), data: strings.Repeat("0", 1<<20)}
	}
	return files
}

func leb(n int) []byte { return binary.AppendUvarint(nil, uint64(n)) }

func text(s string) []byte { return append(leb(len(s)), s...) }

// guest makes a module with an import section.
func guest(imports ...[2]string) []byte {
	body := leb(len(imports))
	for _, i := range imports {
		body = append(body, text(i[0])...)
		body = append(body, text(i[1])...)
		body = append(body, 0, 0)
	}
	out := []byte("\x00asm\x01\x00\x00\x00\x01\x01\x00\x02") // an empty section of types, then imports
	return append(append(out, leb(len(body))...), body...)
}

func TestGuestImports(t *testing.T) {
	whole := [][2]string{{wasi, "fd_write"}}
	for _, name := range append([]string{"dial", "open", "fetch"}, always...) {
		whole = append(whole, [2]string{"picket", name})
	}
	dials := func(d *registry.Descriptor) {
		asGuest(d)
		d.Manifest.Permissions = []sdk.Permission{{Cap: sdk.CapNetDial, Reason: "x"}}
	}
	reads := func(d *registry.Descriptor) {
		asGuest(d)
		d.Manifest.Requires = []registry.Requirement{{Plugin: "acme/words", Version: "^1"}}
	}
	for name, c := range map[string]struct {
		data        []byte
		desc        func(*registry.Descriptor)
		state, want string
	}{
		"only the log":         {guest([2]string{"picket", "log"}), asGuest, registry.GatePassed, "1 import"},
		"what it asks for":     {guest([2]string{"picket", "dial"}, [2]string{"picket", "read"}), dials, registry.GatePassed, "2 imports"},
		"the whole SDK":        {guest(whole...), asGuest, registry.GatePassed, "comes with the SDK"},
		"a dial of its own":    {guest([2]string{"picket", "dial"}), asGuest, registry.GateFailed, "asks for no permission"},
		"files besides":        {guest([2]string{"picket", "open"}), dials, registry.GateFailed, "fs.read"},
		"a model":              {guest([2]string{"picket", "open"}), reads, registry.GatePassed, "1 import"},
		"an unknown function":  {guest([2]string{"picket", "exec"}), dials, registry.GateFailed, "no host offers"},
		"an unknown module":    {guest([2]string{"env", "system"}), dials, registry.GateFailed, "no host has"},
		"something else":       {guestMemory(), asGuest, registry.GateFailed, "no function"},
		"no module":            {[]byte("\x7fELF"), asGuest, registry.GateFailed, "not a WebAssembly"},
		"cut off":              {guest(whole...)[:60], asGuest, registry.GateFailed, "cut off"},
		"a count that lies":    {[]byte("\x00asm\x01\x00\x00\x00\x02\x05\xff\xff\xff\xff\x0f"), asGuest, registry.GateFailed, "at most"},
		"a number without end": {[]byte("\x00asm\x01\x00\x00\x00\x02\xff\xff\xff\xff\xff\xff\xff"), asGuest, registry.GateFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wants(t, run(t, release(t, c.desc, c.data), Config{}), registry.GateImports, c.state, c.want)
		})
	}
}

func guestMemory() []byte {
	return []byte("\x00asm\x01\x00\x00\x00\x02\x0b\x01\x03env\x01m\x02\x01\x01\x02")
}

// message makes a protocol buffer of length-delimited fields.
func message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		n := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, n, protowire.BytesType), v)
		}
	}
	return b
}

func goodONNX() []byte {
	return message(modelVersion, 8, modelGraph, message(graphNode, message(4, "Relu"), graphTensor, message(8, "w")), modelOperators, message(2, 17))
}

func zstded(t *testing.T, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

func TestModel(t *testing.T) {
	pickle := "\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x8c\x06system\x93."
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	if _, err := w.Write([]byte(pickle)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for name, c := range map[string]struct {
		data        []byte
		state, want string
	}{
		"ONNX":                {goodONNX(), registry.GatePassed, "1 node"},
		"a pickle":            {[]byte(pickle), registry.GateFailed, "Python pickle"},
		"an old pickle":       {[]byte("cos\nsystem\n(S'true'\ntR."), registry.GateFailed, "Python pickle"},
		"a torch file":        {zipped(t, zipFile{name: "archive/data.pkl", data: pickle}), registry.GateFailed, "torch"},
		"a joblib file":       {packed.Bytes(), registry.GateFailed, "joblib"},
		"joblib with zstd":    {zstded(t, pickle), registry.GateFailed, "joblib"},
		"joblib with bzip2":   {mustHex("425a6839314159265359b626faa600000951e05d08000102028c2040040a00200031434d300053234069e290d50c1d233a52550874be2ee48a70a1216c4df54c"), registry.GateFailed, "joblib"},
		"joblib with xz":      {[]byte("\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46"), registry.GateFailed, "packed with xz"},
		"joblib with lzma":    {[]byte("\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x40"), registry.GateFailed, "packed with lzma"},
		"joblib with lz4":     {[]byte("\x04\x22\x4d\x18\x64\x40\xa7"), registry.GateFailed, "packed with lz4"},
		"NumPy objects":       {[]byte("\x93NUMPY\x01\x00v\x00{'descr': '|O'}"), registry.GateFailed, "NumPy"},
		"weights elsewhere":   {message(modelVersion, 8, modelGraph, message(graphNode, "", graphTensor, message(tensorExternal, message(pairKey, "location", pairValue, "../../etc/passwd"))), modelOperators, message(2, 17)), registry.GateFailed, "outside of it"},
		"operators of others": {message(modelVersion, 8, modelGraph, message(graphNode, ""), modelOperators, message(operatorDomain, "com.acme")), registry.GateWarning, "com.acme"},
		"no graph":            {message(modelVersion, 8, modelOperators, message(2, 17)), registry.GateFailed, "no graph"},
		"no operators":        {message(modelVersion, 8, modelGraph, message(graphNode, "")), registry.GateFailed, "no set of operators"},
		"text":                {[]byte("hello"), registry.GateFailed, "not an ONNX model"},
		"nothing":             {nil, registry.GateFailed, "not an ONNX model"},
		"cut off":             {goodONNX()[:8], registry.GateFailed, "not an ONNX model"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, release(t, asModel, c.data), Config{})
			wants(t, r, registry.GateArchive, c.state, c.want)
			if refused := r.Refused() != nil; refused != (c.state == registry.GateFailed) {
				t.Errorf("refused: %v", refused)
			}
		})
	}
}

func TestDataPack(t *testing.T) {
	for name, c := range map[string]struct {
		data        string
		state, want string
	}{
		"a table":   {"00:00:5e\tIANA\n", registry.GatePassed, ""},
		"rules":     {"alert tcp any any -> any 80 (msg:\"x\";)\n", registry.GatePassed, ""},
		"a program": {"\x7fELF\x02", registry.GateFailed, "never run"},
		"a script":  {"#!/bin/sh\n", registry.GateFailed, "never run"},
		"a pickle":  {"\x80\x03]q\x00.", registry.GateFailed, "pickle"},
		"in xz":     {"\xfd7zXZ\x00\x00\x04", registry.GateFailed, "packed with xz"},
		"xz inside": {string(zipped(t, zipFile{name: "x", data: "\xfd7zXZ\x00\x00\x04"})), registry.GateWarning, "packed with xz"},
		"a number":  {"\x5d\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\x00", registry.GatePassed, ""},
		"a bomb":    {string(zipped(t, zipFile{name: "x", data: strings.Repeat("a", 8<<20)})), registry.GateFailed, "bomb"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, release(t, asData, []byte(c.data)), Config{})
			wants(t, r, registry.GateArchive, c.state, c.want)
			if s, _ := state(t, r, registry.GateConformance); s != "" {
				t.Errorf("what is never run has a conformance of %s", s)
			}
		})
	}
}

func FuzzArtifacts(f *testing.F) {
	f.Add([]byte("\x7fELF\x02\x01\x01"), byte(0))
	f.Add(zipped(f, zipFile{name: "a.py", data: "x"}), byte(1))
	f.Add(guest([2]string{"picket", "log"}), byte(2))
	f.Add(goodONNX(), byte(3))
	f.Add([]byte("\x80\x04\x95"), byte(4))
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		change := []func(*registry.Descriptor){nil, asPython, asGuest, asModel, asData}[kind%5]
		r := run(t, release(t, change, data), Config{})
		if kind%5 == 3 && isPickle(data) != "" && r.Refused() == nil {
			t.Error("a pickle is published as a model")
		}
	})
}
