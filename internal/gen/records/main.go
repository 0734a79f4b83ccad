// Command records turns the schemas in proto/records into the row encoders and decoders of package sdk/records.
// Run it from the root of the repository: go run ./internal/gen/records
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "records:", err)
		os.Exit(1)
	}
}

// run generates one file for each schema below root.
func run(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	for name, source := range files {
		if err := os.WriteFile(name, source, 0o644); err != nil {
			return fmt.Errorf("write generated code: %w", err)
		}
	}
	return nil
}

// generate returns the generated sources by file name.
func generate(root string) (map[string][]byte, error) {
	schemas, err := filepath.Glob(filepath.Join(root, "proto", "records", "*.json"))
	if err != nil || len(schemas) == 0 {
		return nil, fmt.Errorf("no schema in %s/proto/records; run this from the root of the repository", root)
	}
	files := map[string][]byte{}
	for _, name := range schemas {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read schema: %w", err)
		}
		s, err := parseSchema(data)
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		source, err := s.source()
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", name, err)
		}
		files[filepath.Join(root, "sdk", "records", s.Schema+"_gen.go")] = source
	}
	name, source, err := pythonRows(root, schemas)
	if err != nil {
		return nil, err
	}
	files[name] = source
	if name, source, err = rustRows(root, schemas); err != nil {
		return nil, err
	}
	files[name] = source
	return files, nil
}
