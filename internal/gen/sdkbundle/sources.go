package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// files are contents by slash-separated names.
type files map[string][]byte

func (f files) names() []string { return slices.Sorted(maps.Keys(f)) }

// sources are the three SDKs as they are in the tree, without what only their own tests need.
type sources struct{ golang, python, rust files }

func read(root string) (sources, error) {
	var s sources
	license, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return s, err
	}
	dir := filepath.Join(root, "sdk")
	if s.golang, err = tree(dir, goWanted); err != nil {
		return s, err
	}
	if s.python, err = tree(filepath.Join(dir, "python"), pythonWanted); err != nil {
		return s, err
	}
	if s.rust, err = tree(filepath.Join(dir, "rust"), rustWanted); err != nil {
		return s, err
	}
	for _, f := range []files{s.golang, s.python, s.rust} {
		if len(f) > 0 {
			f["LICENSE"] = license
		}
	}
	return s, nil
}

// tree reads the files below dir that are wanted; none when there is no such folder.
func tree(dir string, wanted func(name string, isDir bool) bool) (files, error) {
	out := files{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		switch {
		case !wanted(name, d.IsDir()) && d.IsDir():
			return filepath.SkipDir
		case d.Type().IsRegular() && wanted(name, false):
			out[name], err = os.ReadFile(p)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return out, err
}

func goWanted(name string, isDir bool) bool {
	base := path.Base(name)
	if isDir {
		return base != "testdata" && name != "python" && name != "rust" && !strings.HasPrefix(base, ".")
	}
	return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || base == "README.md" || name == "go.mod" || name == "go.sum"
}

func pythonWanted(name string, isDir bool) bool {
	base := path.Base(name)
	if isDir {
		return (strings.HasPrefix(name, "picket") || strings.HasPrefix(name, "src")) && base != "__pycache__" &&
			!strings.HasSuffix(base, ".egg-info") && base != "tests"
	}
	return name == "pyproject.toml" || name == "README.md" || strings.HasSuffix(name, ".py") && strings.Contains(name, "/") ||
		strings.HasSuffix(name, ".pyi") || base == "py.typed"
}

func rustWanted(name string, isDir bool) bool {
	if isDir {
		return name == "src" || strings.HasPrefix(name, "src/")
	}
	return name == "Cargo.toml" || name == "README.md" || name == "build.rs" || strings.HasPrefix(name, "src/") && strings.HasSuffix(name, ".rs")
}

// digest names the contents of all three.
func (s sources) digest() string {
	sum := sha256.New()
	for _, part := range []files{s.golang, s.python, s.rust} {
		for _, name := range part.names() {
			fmt.Fprintf(sum, "%s %x\n", name, sha256.Sum256(part[name]))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}
