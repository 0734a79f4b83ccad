package plugincmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry/registrytest"
)

// laidOut is a release as the gate lays it out.
func laidOut(t *testing.T, p registrytest.Plugin) string {
	t.Helper()
	sub := p.Submission(t)
	dir := t.TempDir()
	data, err := sub.Descriptor.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "release.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	for digest, path := range sub.Artifacts {
		if err := os.Rename(path, filepath.Join(dir, digest)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What cannot be compared is said, and is nobody's fault.
func TestRebuildSaysWhyNot(t *testing.T) {
	release := laidOut(t, registrytest.Plugin{ID: "acme/agent"})
	sources := t.TempDir()
	if out, err := command(t, "rebuild", "--sources", sources, release); err == nil || !strings.Contains(err.Error(), "names no source") {
		t.Errorf("without a checkout: %v\n%s", err, out)
	}
	if err := os.MkdirAll(filepath.Join(sources, "acme", "agent"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := command(t, "rebuild", "--sources", sources, release); err == nil || !strings.Contains(err.Error(), "which Go built it") {
		t.Errorf("without build information: %v\n%s", err, out)
	}
	if out, err := command(t, "rebuild", "--sources", sources, t.TempDir()); err == nil {
		t.Errorf("without a release: %s", out)
	}
}
