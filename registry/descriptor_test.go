package registry

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func goodDescriptor(tb testing.TB) *Descriptor {
	tb.Helper()
	m, err := ParseManifest([]byte(goodManifest))
	if err != nil {
		tb.Fatal(err)
	}
	return &Descriptor{
		Schema: DescriptorSchema, Manifest: *m, ConfigSchema: []byte(`{"type":"object","title":"a<b"}`), Rules: []byte(`[]`),
		Artifacts: []Artifact{
			{Runtime: RuntimeProcess, OS: "linux", Arch: "amd64", ABI: ABIProcess, SHA256: Digest([]byte("p")), Size: 1},
			{Runtime: RuntimeProcess, OS: "darwin", Arch: "arm64", ABI: ABIProcess, SHA256: Digest([]byte("m")), Size: 1},
			{Runtime: RuntimeWASM, OS: "wasip1", Arch: "wasm", ABI: ABIWASM, SHA256: Digest([]byte("w")), Size: 1},
		},
		ReadmeSHA256: Digest([]byte("readme")),
	}
}

func TestDescriptorRoundTrip(t *testing.T) {
	d := goodDescriptor(t)
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseDescriptor(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Error(diff)
	}
	for _, c := range []struct {
		runtime, os, arch string
		found             bool
	}{
		{"process", "linux", "amd64", true}, {"process", "darwin", "arm64", true}, {"process", "linux", "arm64", false},
		{"wasm", "linux", "riscv64", true}, {"python", "linux", "amd64", false},
	} {
		if _, ok := back.Artifact(c.runtime, c.os, c.arch); ok != c.found {
			t.Errorf("artifact %s for %s/%s: found %v", c.runtime, c.os, c.arch, ok)
		}
	}
}

// A descriptor has one spelling; every other one that means the same, or seems to, is refused.
func TestParseDescriptorRefuses(t *testing.T) {
	good, err := goodDescriptor(t).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) string{
		"unknown key":        func(s string) string { return strings.Replace(s, `"rules"`, `"ruled"`, 1) },
		"key in capitals":    func(s string) string { return strings.Replace(s, `"rules"`, `"RULES"`, 1) },
		"key twice":          func(s string) string { return strings.Replace(s, `"rules":[]`, `"rules":[],"rules":[]`, 1) },
		"space":              func(s string) string { return strings.Replace(s, `"rules":`, `"rules": `, 1) },
		"escaped letter":     func(s string) string { return strings.Replace(s, `Port scan`, `Por\u0074 scan`, 1) },
		"text after the end": func(s string) string { return s + "{}" },
		"no newline":         strings.TrimSpace,
		"other schema":       func(s string) string { return strings.Replace(s, `"schema":1`, `"schema":2`, 1) },
		"digest in capitals": func(s string) string {
			return strings.Replace(s, Digest([]byte("p")), strings.ToUpper(Digest([]byte("p"))), 1)
		},
		"size zero":           func(s string) string { return strings.Replace(s, `"size":1`, `"size":0`, 1) },
		"size beyond the cap": func(s string) string { return strings.Replace(s, `"size":1`, `"size":1000000000000`, 1) },
		"guest for a machine": func(s string) string { return strings.Replace(s, `"wasip1"`, `"linux"`, 1) },
		"platform twice": func(s string) string {
			return strings.Replace(s, `"darwin","arch":"arm64"`, `"linux","arch":"amd64"`, 1)
		},
		"unlisted runtime":     func(s string) string { return strings.Replace(s, `["process","wasm"]`, `["process"]`, 1) },
		"schema not an object": func(s string) string { return strings.Replace(s, `{"type":"object","title":"a<b"}`, `7`, 1) },
		"bad manifest":         func(s string) string { return strings.Replace(s, `"detector"`, `"dog"`, 1) },
		"not UTF-8":            func(s string) string { return strings.Replace(s, `Port`, "P\xff", 1) },
		"deeply nested": func(s string) string {
			return strings.Replace(s, `"rules":[]`, `"rules":`+strings.Repeat("[", 500)+strings.Repeat("]", 500), 1)
		},
		"too large": func(s string) string { return s + strings.Repeat(" ", MaxDescriptor) },
	} {
		t.Run(name, func(t *testing.T) {
			bad := change(string(good))
			if bad == string(good) {
				t.Fatal("the case changes nothing")
			}
			if d, err := ParseDescriptor([]byte(bad)); err == nil {
				t.Errorf("accepted %+v", d)
			}
		})
	}
}

// FuzzParseDescriptor: what is accepted is exactly its own encoding.
func FuzzParseDescriptor(f *testing.F) {
	good, err := goodDescriptor(f).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"schema":1,"manifest":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ParseDescriptor(data)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("accepted bytes that are not its encoding: %v", err)
		}
	})
}

func TestTargetPath(t *testing.T) {
	id, version, err := ParseTargetPath(TargetPath("acme/door-sensor", "1.2.3-rc.1"))
	if err != nil || id != "acme/door-sensor" || version != "1.2.3-rc.1" {
		t.Errorf("%s %s %v", id, version, err)
	}
	for _, bad := range []string{
		"", "plugins/acme/door/1.0.0", "plugins/acme/door/1.0.0/other.json", "x/acme/door/1.0.0/release.json",
		"plugins/acme/door/1.0.0/x/release.json", "plugins/../door/1.0.0/release.json", "plugins/acme/door/../release.json",
		"plugins/ACME/door/1.0.0/release.json", "plugins/acme//1.0.0/release.json",
	} {
		if _, _, err := ParseTargetPath(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}
