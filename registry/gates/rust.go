package gates

import (
	"bytes"
	"compress/zlib"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// ecosystemCargo is that of Rust, as package URLs name it.
const ecosystemCargo = "cargo"

// RustParts is the section in which a program or a guest in Rust says what it was built from: zlib over JSON, as
// cargo-auditable writes it. `picket plugin build` puts it into guests.
const RustParts = ".dep-v0"

// maxRustParts bounds the list unpacked.
const maxRustParts = 1 << 20

// Crate is one entry of the list.
type Crate struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Source  string `json:"source"`         // "crates.io", "git", "local", or another word for a registry
	Kind    string `json:"kind,omitempty"` // "build" when it is not in the artifact itself
	Root    bool   `json:"root,omitempty"`
}

var errUnstated = errors.New("it does not say what it was built from (no Go build information, no list of crates)")

var (
	crateName    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	crateVersion = regexp.MustCompile(`^[0-9][0-9A-Za-z.+-]{0,63}$`)
)

func rustParts(section []byte) ([]part, error) {
	r, err := zlib.NewReader(bytes.NewReader(section))
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxRustParts+1))
	if err != nil {
		return nil, fmt.Errorf("its list of crates: %w", err)
	}
	var list struct {
		Packages []Crate `json:"packages"`
	}
	if len(text) > maxRustParts || json.Unmarshal(text, &list) != nil || len(list.Packages) > maxParts {
		return nil, errors.New("its list of crates is none, or far too long")
	}
	var parts []part
	for _, c := range list.Packages {
		if !crateName.MatchString(c.Name) || !crateVersion.MatchString(c.Version) {
			return nil, fmt.Errorf("its list of crates names %q %q", printable(c.Name), printable(c.Version))
		}
		p := part{Ecosystem: ecosystemCargo, Name: c.Name, Version: c.Version}
		if c.Root || c.Source == "local" {
			p.Version = "" // from the same source as the release
		}
		parts = append(parts, p)
	}
	return parts, nil
}

// rustSection returns the list of crates of an ELF program, nil without one.
func rustSection(data []byte) []byte {
	file, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil
	}
	section := file.Section(RustParts)
	if section == nil || section.Size > maxRustParts {
		return nil
	}
	list, err := section.Data()
	if err != nil {
		return nil
	}
	return list
}

// RustToolchain returns the version of rustc that made the guest of a release, such as 1.95.0; "" when it does not say.
func RustToolchain(r Release) string {
	c := &check{Release: r}
	defer c.contents.close()
	found := ""
	for _, a := range r.Descriptor.Artifacts {
		data, err := c.read(a)
		if err != nil {
			return ""
		}
		version := ""
		if guard(func() { version = rustProducer(wasmCustom(data, "producers")) }) != nil || found != "" && version != found {
			return ""
		}
		found = version
	}
	return found
}

// rustProducer reads the compiler's version out of a section with the names of tools.
func rustProducer(section []byte) string {
	r := &wasmReader{data: section}
	for range min(r.uint(), 16) {
		field := r.name()
		for range min(r.uint(), 64) {
			tool, version := r.name(), r.name()
			if field == "processed-by" && tool == "rustc" && r.err == nil {
				version, _, _ = strings.Cut(version, " ")
				return version
			}
		}
	}
	return ""
}

var crateLicence = regexp.MustCompile(`(?m)^license\s*=\s*"([^"\n]{1,200})"`)

// rustLicence reads the licence of a crate among those that cargo has unpacked, "" when it is not there or says none.
func (c *check) rustLicence(p part) string {
	if c.cfg.CrateCache == "" || p.own() {
		return ""
	}
	// Names and versions were checked: they hold no pattern and no path.
	found, err := filepath.Glob(filepath.Join(c.cfg.CrateCache, "*", p.Name+"-"+p.Version, "Cargo.toml"))
	if err != nil || len(found) == 0 {
		return ""
	}
	f, err := os.Open(found[0])
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 256<<10))
	m := crateLicence.FindSubmatch(text)
	if err != nil || m == nil {
		return ""
	}
	licence := strings.ReplaceAll(string(m[1]), "/", " OR ") // as it was written before SPDX expressions
	if checkSPDX(licence) != nil {
		return ""
	}
	return licence
}
