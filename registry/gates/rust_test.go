package gates

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
)

func custom(name string, body []byte) []byte {
	section := append(text(name), body...)
	return append(append([]byte{0}, leb(len(section))...), section...)
}

func crates(t *testing.T, list string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	if _, err := w.Write([]byte(list)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.Bytes()
}

const someCrates = `{"packages":[{"name":"plugin","version":"1.0.0","source":"local","root":true},
 {"name":"picket-sdk","version":"0.1.0","source":"local"},{"name":"memchr","version":"2.7.4","source":"crates.io"}]}`

func TestPartsOfRust(t *testing.T) {
	cache := t.TempDir()
	dir := filepath.Join(cache, "some-registry-1", "memchr-2.7.4")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Cargo.toml"), []byte("[package]\nname = \"memchr\"\nlicense = \"Unlicense/MIT\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	db := database(t, "")
	cfg := Config{CrateCache: cache, Vulnerabilities: db}
	good := append(guest(), custom(RustParts, crates(t, someCrates))...)
	r := run(t, release(t, asGuest, good), cfg)
	wants(t, r, registry.GateSBOM, registry.GatePassed, "3 components")
	wants(t, r, registry.GateLicence, registry.GatePassed, "Unlicense OR MIT (1)")
	wants(t, r, registry.GateVulnerabilities, registry.GateNotChecked, "none of crates.io")
	if !strings.Contains(string(r.Evidence[0]), "pkg:cargo/memchr@2.7.4") {
		t.Errorf("%s", r.Evidence[0])
	}
	db.known["crates.io"] = true
	db.byPackage["crates.io/memchr"] = []advisory{{ID: "RUSTSEC-1", Summary: "It reads on.", versions: []string{"2.7.4"}}}
	wants(t, run(t, release(t, asGuest, good), cfg), registry.GateVulnerabilities, registry.GateWarning, "RUSTSEC-1")
	wants(t, run(t, release(t, asGuest, good), Config{}), registry.GateLicence, registry.GateNotChecked, "memchr")
	for name, list := range map[string][]byte{
		"no zlib":      []byte("{}"),
		"cut off":      crates(t, someCrates)[:20],
		"no JSON":      crates(t, "packages"),
		"a bomb":       crates(t, `{"packages":[]`+strings.Repeat(" ", maxRustParts)+"}"),
		"a path":       crates(t, `{"packages":[{"name":"../x","version":"1.0.0"}]}`),
		"a pattern":    crates(t, `{"packages":[{"name":"x","version":"1*"}]}`),
		"too many":     crates(t, `{"packages":[{}`+strings.Repeat(",{}", maxParts)+`]}`),
		"an odd title": crates(t, `{"packages":[{"name":"","version":""}]}`),
	} {
		t.Run(name, func(t *testing.T) {
			guest := append(guest(), custom(RustParts, list)...)
			wants(t, run(t, release(t, asGuest, guest), Config{}), registry.GateSBOM, registry.GateNotChecked, "crates")
		})
	}
}

func TestRustToolchain(t *testing.T) {
	field := func(name, tool, version string) []byte {
		return bytes.Join([][]byte{leb(1), text(name), leb(1), text(tool), text(version)}, nil)
	}
	for want, sections := range map[string][]byte{
		"1.95.0": custom("producers", field("processed-by", "rustc", "1.95.0 (5980761 2026-04-14)")),
		"":       custom("producers", field("processed-by", "clang", "18")),
	} {
		if got := RustToolchain(release(t, asGuest, append(guest(), sections...))); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	huge := custom("producers", binary.AppendUvarint(nil, 1<<31))
	if got := RustToolchain(release(t, asGuest, append(guest(), huge...))); got != "" {
		t.Error(got)
	}
}

// Whatever stands in the list, it gives parts with plain names and versions, or none.
func FuzzRustParts(f *testing.F) {
	f.Add([]byte(someCrates))
	f.Add([]byte(`{"packages":[{"name":"x","version":"1","root":true}]}`))
	f.Fuzz(func(t *testing.T, list []byte) {
		for _, section := range [][]byte{list, crates(t, string(list))} {
			parts, err := rustParts(section)
			if err != nil && parts != nil || len(parts) > maxParts {
				t.Fatalf("%d parts, %v", len(parts), err)
			}
			for _, p := range parts {
				if strings.ContainsAny(p.Name+p.Version, "/\\*?[ \n") {
					t.Fatalf("%+v", p)
				}
			}
		}
		rustProducer(list)
		wasmCustom(list, RustParts)
	})
}
