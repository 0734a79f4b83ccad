// Command gencases writes the captures of the detectors' cases. Run it in the root of the repository; the same sources give
// the same bytes, which a test checks.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if err := run("plugins/detectors"); err != nil {
		fmt.Fprintln(os.Stderr, "gencases:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	for name, pcap := range captures() {
		file := filepath.Join(dir, name, "input.pcap")
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, pcap, 0o644); err != nil {
			return err
		}
	}
	return nil
}
