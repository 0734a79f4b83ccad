package gates

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry"
)

// The ecosystems of parts, as package URLs name them.
const (
	ecosystemGo   = "golang"
	ecosystemPyPI = "pypi"
)

// part is one thing that a release was built from.
type part struct {
	Ecosystem, Name, Version string
	License                  string // SPDX, "" when not known
}

// goToolchain is the name of Go itself and its standard library.
const goToolchain = "stdlib"

// own reports whether a part has no version of its own: it was built from the same source as the release.
func (p part) own() bool { return p.Version == "" || p.Version == "(devel)" }

// bom is what is known of the parts of a release.
type bom struct {
	parts   []part
	unknown []string // artifacts that do not say what they were built from
	read    int      // artifacts that do
}

func (b *bom) whole() bool { return len(b.unknown) == 0 && b.read > 0 }

// parts reads what the artifacts say that they were built from.
func (c *check) parts(ctx context.Context) *bom {
	if c.bom != nil {
		return c.bom
	}
	c.bom = &bom{}
	for _, a := range c.Descriptor.Artifacts {
		if ctx.Err() != nil {
			break
		}
		data, err := c.read(a)
		var parts []part
		if err == nil {
			if caught := guard(func() { parts, err = partsOf(c.Descriptor.Manifest.Interpreter, a, data) }); caught != nil {
				err = caught
			}
		}
		if err != nil {
			c.bom.unknown = append(c.bom.unknown, label(a)+": "+err.Error())
		}
		if err == nil || len(parts) > 0 { // some of it may be known
			c.bom.read++
		}
		c.bom.parts = append(c.bom.parts, parts...)
	}
	slices.SortFunc(c.bom.parts, func(a, b part) int {
		return strings.Compare(a.Ecosystem+" "+a.Name+" "+a.Version, b.Ecosystem+" "+b.Name+" "+b.Version)
	})
	c.bom.parts = slices.Compact(c.bom.parts)
	for i := range c.bom.parts {
		p := &c.bom.parts[i]
		if p.License != "" {
			continue
		}
		switch p.Ecosystem {
		case ecosystemGo:
			p.License = c.goLicence(*p)
		case ecosystemCargo:
			p.License = c.rustLicence(*p)
		}
	}
	return c.bom
}

func partsOf(interpreter string, a registry.Artifact, data []byte) ([]part, error) {
	switch {
	case interpreter != "":
		return pythonParts(data)
	case a.Runtime == registry.RuntimeWASM:
		return guestParts(data)
	}
	info, err := buildinfo.Read(bytes.NewReader(data))
	if err == nil {
		return goParts(info), nil
	}
	if list := rustSection(data); list != nil {
		return rustParts(list)
	}
	return nil, errUnstated
}

func goParts(info *debug.BuildInfo) []part {
	var parts []part
	if version := strings.TrimPrefix(info.GoVersion, "go"); version != "" {
		version, _, _ = strings.Cut(version, " ") // experiments follow
		parts = append(parts, part{ecosystemGo, goToolchain, version, "BSD-3-Clause"})
	}
	add := func(m *debug.Module) {
		if m.Replace != nil {
			m = m.Replace
		}
		if m.Path != "" && len(parts) < maxParts {
			parts = append(parts, part{Ecosystem: ecosystemGo, Name: m.Path, Version: m.Version})
		}
	}
	add(&info.Main)
	for _, m := range info.Deps {
		add(m)
	}
	return parts
}

const maxParts = 5000

// The marks that Go puts around the list of modules, in programs of any format.
var (
	modulesStart = mustHex("3077af0c9274080241e1c107e6d618e6")
	modulesEnd   = mustHex("f932433186182072008242104116d8f2")
	goVersion    = regexp.MustCompile(`^go1\.[0-9]{2}\.[0-9]{1,2}\b`)
)

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// guestParts reads what Go or cargo wrote into a guest: debug/buildinfo does not know the format.
func guestParts(data []byte) ([]part, error) {
	if list := wasmCustom(data, RustParts); list != nil {
		return rustParts(list)
	}
	_, rest, ok := bytes.Cut(data, modulesStart)
	text, _, ok2 := bytes.Cut(rest[:min(len(rest), 1<<20)], modulesEnd)
	if !ok || !ok2 {
		return nil, errUnstated
	}
	info, err := debug.ParseBuildInfo(string(text))
	if err != nil {
		return nil, err
	}
	info.GoVersion = guestGoVersion(data)
	return goParts(info), nil
}

// guestGoVersion finds the version of the runtime, which stands somewhere among the texts of a guest. With more than one
// it cannot be told which is meant.
func guestGoVersion(data []byte) string {
	found := ""
	for rest := data; ; {
		i := bytes.Index(rest, []byte("go1."))
		if i < 0 {
			return found
		}
		rest = rest[i:]
		if v := string(goVersion.Find(rest[:min(len(rest), 16)])); v != "" {
			if found != "" && found != v {
				return ""
			}
			found = v
		}
		rest = rest[len("go1."):]
	}
}

// pythonParts reads the metadata of packages inside of an archive, and pinned requirements.
func pythonParts(data []byte) ([]part, error) {
	in, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var parts []part
	var loose []string
	listed := false
	for _, entry := range in.File[:min(len(in.File), maxZipFiles)] {
		isMetadata := strings.HasSuffix(entry.Name, ".dist-info/METADATA")
		if !isMetadata && entry.Name != "requirements.txt" {
			continue
		}
		listed = true
		r, err := entry.Open()
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(io.LimitReader(r, 1<<20))
		r.Close()
		if err != nil {
			return nil, err
		}
		if isMetadata {
			parts = append(parts, pythonPackage(text))
		} else {
			exact, others := pythonRequirements(text)
			parts, loose = append(parts, exact...), append(loose, others...)
		}
		if len(parts) > maxParts {
			return nil, fmt.Errorf("more than %d packages", maxParts)
		}
	}
	if !listed {
		return nil, fmt.Errorf("it lists no packages (no requirements.txt, no dist-info)")
	}
	if len(loose) > 0 {
		return parts, fmt.Errorf("no exact version is named of %s", strings.Join(loose[:min(len(loose), 8)], ", "))
	}
	return parts, nil
}

func pythonPackage(metadata []byte) part {
	p := part{Ecosystem: ecosystemPyPI}
	lines := bufio.NewScanner(bytes.NewReader(metadata))
	for lines.Scan() && lines.Text() != "" {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "Name":
			p.Name = strings.ToLower(value)
		case "Version":
			p.Version = value
		case "License-Expression":
			p.License = value
		}
	}
	return p
}

var (
	pinned      = regexp.MustCompile(`^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*===?\s*([A-Za-z0-9.+!_-]+)\s*(?:[;\\#].*)?$`)
	requirement = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}`)
)

// pythonSDK comes with Picket, in the version that the node has.
const pythonSDK = "picket-sdk"

// pythonRequirements tells what is pinned from what may be of any version.
func pythonRequirements(text []byte) (exact []part, loose []string) {
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name := strings.ToLower(requirement.FindString(line))
		m := pinned.FindStringSubmatch(line)
		switch {
		case line == "", strings.HasPrefix(line, "#"), strings.HasPrefix(line, "--hash="):
		case m != nil:
			exact = append(exact, part{Ecosystem: ecosystemPyPI, Name: strings.ToLower(m[1]), Version: m[2]})
		case strings.ReplaceAll(name, "_", "-") == pythonSDK:
			exact = append(exact, part{Ecosystem: ecosystemPyPI, Name: pythonSDK})
		case name != "":
			loose = append(loose, name)
		default:
			loose = append(loose, printable(line[:min(len(line), 60)])) // an option, such as another file
		}
	}
	return exact, loose
}
