// Command sdkbundle packs the SDK that picket carries: the Go module as the files of a module proxy, the Python package
// as a wheel and the Rust crate as a tar. The same sources give the same bytes, wherever and whenever they are packed.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	version := flag.String("version", "", "the version of the product, for example 0.1.0")
	release := flag.Bool("release", false, "the version as it is; otherwise a digest of the sources is part of it")
	out := flag.String("out", "cmd/picket/internal/sdkbundle/data", "where the files go")
	flag.Parse()
	if err := run(".", *out, *version, *release); err != nil {
		fmt.Fprintln(os.Stderr, "sdkbundle:", err)
		os.Exit(1)
	}
}

// run packs what lies below root/sdk into out.
func run(root, out, version string, release bool) error {
	if version == "" {
		return fmt.Errorf("--version is needed, for example --version 0.1.0")
	}
	bundle, err := pack(root, version, release)
	if err != nil {
		return err
	}
	return write(out, bundle)
}

// pack returns the files of the bundle by their names.
func pack(root, version string, release bool) (map[string][]byte, error) {
	src, err := read(root)
	if err != nil {
		return nil, err
	}
	v := versions{product: version, goModule: "v" + version, python: version}
	if !release {
		// One number that stands for two contents would be refused by Go's checksums, and rightly so.
		digest := src.digest()[:12]
		v = versions{version + "-dev.h" + digest, "v" + version + "-dev.h" + digest, version + ".dev0+h" + digest}
	}
	bundle := map[string][]byte{"VERSION": []byte(v.product + "\n")}
	if err := goModule(bundle, src.golang, v.goModule); err != nil {
		return nil, fmt.Errorf("the Go module: %w", err)
	}
	if len(src.python) > 0 {
		if err := wheel(bundle, src.python, v.python); err != nil {
			return nil, fmt.Errorf("the Python wheel: %w", err)
		}
	}
	if len(src.rust) > 0 {
		if err := crate(bundle, src.rust); err != nil {
			return nil, fmt.Errorf("the Rust crate: %w", err)
		}
	}
	return bundle, nil
}

// versions are one version as each language writes it.
type versions struct{ product, goModule, python string }

// write replaces what out holds, but for the files that are committed there.
func write(out string, bundle map[string][]byte) error {
	entries, err := os.ReadDir(out)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	for _, e := range entries {
		if e.Name() != "README" && e.Name() != ".gitignore" {
			if err := os.RemoveAll(filepath.Join(out, e.Name())); err != nil {
				return err
			}
		}
	}
	for name, data := range bundle {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// lines joins lines, each with its end.
func lines(list ...string) []byte {
	var b bytes.Buffer
	for _, l := range list {
		b.WriteString(l + "\n")
	}
	return b.Bytes()
}
