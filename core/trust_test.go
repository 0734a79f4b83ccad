package core

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A release that somebody publishes into a folder of this machine is not waited for an hour.
func TestARegistryIsReadOnceSomethingWasPublished(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "metadata", "timestamp.json")
	if err := os.Mkdir(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	before := lastPublished(dir)
	if before != "" || lastPublished("https://registry.example") != "" {
		t.Errorf("a registry without a timestamp: %q", before)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !untilPublished(t.Context(), dir, before, time.Hour) { // the test would not end
		t.Error("a change was waited for in vain")
	}
	if !untilPublished(t.Context(), dir, lastPublished(dir), 10*time.Millisecond) {
		t.Error("without a change it is not read when its time has come")
	}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if untilPublished(gone, dir, lastPublished(dir), time.Hour) {
		t.Error("it is read although the server stops")
	}
}
