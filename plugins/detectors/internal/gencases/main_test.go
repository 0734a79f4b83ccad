package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// The captures of the cases are what this program writes, so that a case can be read in its source.
func TestCapturesAreFresh(t *testing.T) {
	for name, want := range captures() {
		have, err := os.ReadFile(filepath.Join("../..", name, "input.pcap"))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(have, want) {
			t.Errorf("%s is not what gencases writes: run go run ./plugins/detectors/internal/gencases", name)
		}
	}
}
