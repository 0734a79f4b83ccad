package plugincmd

import (
	"bytes"
	"cmp"
	"compress/zlib"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/picketwatch/picket/registry/gates"
)

// rustOrigin is what cargo leaves out of a guest: which crates it was built from and by which compiler, as custom
// sections that no host runs. Go writes the same into what it builds; the gates of a registry read both.
func rustOrigin(ctx context.Context, env []string, src string) ([]byte, error) {
	ask := func(program string, args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, program, args...)
		cmd.Dir, cmd.Env = src, env
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%s %s: %w: %s", program, args[0], err, lastLine(exit.Stderr))
		}
		return out, err
	}
	metadata, err := ask("cargo", "metadata", "--format-version=1", "--offline", "--filter-platform", rustTarget)
	if err != nil {
		return nil, err
	}
	list, err := cratesOf(metadata)
	if err != nil {
		return nil, err
	}
	version, err := ask("rustc", "--version")
	if err != nil {
		return nil, err
	}
	_, compiler, _ := strings.Cut(strings.TrimSpace(string(version)), " ")
	parts, err := packCrates(list)
	if err != nil {
		return nil, err
	}
	producer := slices.Concat([]byte{1}, wasmName("processed-by"), []byte{1}, wasmName("rustc"), wasmName(compiler)) // one field, one tool
	return append(wasmSection(gates.RustParts, parts), wasmSection("producers", producer)...), nil
}

// packCrates packs the list as cargo-auditable does. It is stored, not compressed: what a compressor makes of it differs
// between its versions, and the same source is to give the same bytes.
func packCrates(list []gates.Crate) ([]byte, error) {
	text, err := json.Marshal(map[string][]gates.Crate{"packages": list})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w, err := zlib.NewWriterLevel(&b, zlib.NoCompression)
	if err != nil {
		return nil, err
	}
	_, err = w.Write(text)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func wasmName(s string) []byte { return append(binary.AppendUvarint(nil, uint64(len(s))), s...) }

func wasmSection(name string, body []byte) []byte {
	content := append(wasmName(name), body...)
	return append(binary.AppendUvarint([]byte{0}, uint64(len(content))), content...)
}

// metadata is what is read of `cargo metadata`.
type metadata struct {
	Packages []struct{ ID, Name, Version, Source string }
	Resolve  struct {
		Root  string
		Nodes []struct {
			ID   string
			Deps []struct {
				Pkg      string
				DepKinds []struct{ Kind string } `json:"dep_kinds"`
			}
		}
	}
}

// cratesOf lists what a plugin is built from: its dependencies and theirs, without what only its tests need.
func cratesOf(text []byte) ([]gates.Crate, error) {
	var m metadata
	if err := json.Unmarshal(text, &m); err != nil || m.Resolve.Root == "" {
		return nil, errors.New("cargo names no package that is built")
	}
	kinds := map[string]string{m.Resolve.Root: ""}
	for due := []string{m.Resolve.Root}; len(due) > 0; due = due[1:] {
		for _, node := range m.Resolve.Nodes {
			if node.ID != due[0] {
				continue
			}
			for _, dep := range node.Deps {
				kind, needed := kindOf(dep.DepKinds, kinds[node.ID])
				had, known := kinds[dep.Pkg]
				if needed && (!known || had == buildOnly && kind == "") {
					kinds[dep.Pkg] = kind
					due = append(due, dep.Pkg)
				}
			}
		}
	}
	var list []gates.Crate
	for _, p := range m.Packages {
		if kind, needed := kinds[p.ID]; needed {
			list = append(list, gates.Crate{Name: p.Name, Version: p.Version, Source: sourceWord(p.Source), Kind: kind, Root: p.ID == m.Resolve.Root})
		}
	}
	slices.SortFunc(list, func(a, b gates.Crate) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Source, b.Source))
	})
	return list, nil
}

// buildOnly is the kind of what runs at the build and is not in the artifact.
const buildOnly = "build"

// kindOf says how a dependency of a crate of some kind is needed, if it is.
func kindOf(kinds []struct{ Kind string }, of string) (kind string, needed bool) {
	for _, k := range kinds {
		switch k.Kind {
		case "":
			return of, true
		case buildOnly:
			kind, needed = buildOnly, true
		}
	}
	return kind, needed
}

// sourceWord is cargo-auditable's word for where a crate is from.
func sourceWord(source string) string {
	switch {
	case source == "":
		return "local"
	case strings.HasPrefix(source, "git+"):
		return "git"
	case source == "registry+https://github.com/rust-lang/crates.io-index":
		return "crates.io"
	}
	return "registry"
}
