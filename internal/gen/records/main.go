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
	schemas, err := readSchemas(filepath.Join(root, "proto", "records"))
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, s := range schemas {
		source, err := s.source()
		if err != nil {
			return nil, fmt.Errorf("schema %s: %w", s.Schema, err)
		}
		files[filepath.Join(root, "sdk", "records", s.Schema+"_gen.go")] = source
		if s.Features != nil {
			if err := s.addFeatures(root, files); err != nil {
				return nil, fmt.Errorf("schema %s: %w", s.Schema, err)
			}
		}
	}
	source, err := factsSource(schemas)
	if err != nil {
		return nil, err
	}
	files[filepath.Join(root, "sdk", "records", "facts_gen.go")] = source
	name, source, err := pythonRows(root, schemas)
	if err != nil {
		return nil, err
	}
	files[name] = source
	page, text := recordsPage(root, schemas)
	files[page] = text
	if name, source, err = rustRows(root, schemas); err != nil {
		return nil, err
	}
	files[name] = source
	return files, nil
}
