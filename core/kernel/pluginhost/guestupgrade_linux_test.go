package pluginhost

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// guestReleases keeps releases of one guest, which differ in a section that says which it is.
type guestReleases struct {
	guestShelf
	dir string
}

func (s guestReleases) OpenRelease(ctx context.Context, id, version, runtime string) (*client.Artifact, error) {
	art, err := s.OpenVerified(ctx, id, runtime)
	if err != nil {
		return nil, err
	}
	art.Close()
	module, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	section := append([]byte{0, byte(2 + len(version)), byte(len(version))}, version...) // its name, and one byte in it
	module = append(append(module, section...), 'x')
	path := filepath.Join(s.dir, version)
	if err := os.WriteFile(path, module, 0o600); err != nil {
		return nil, err
	}
	art.Version, art.Descriptor.Manifest.Version, art.Digest = version, version, fmt.Sprintf("%x", sha256.Sum256(module))
	art.File, err = os.Open(path)
	return art, err
}

// A guest changes its version while it works, and back, as a process does.
func TestAGuestIsUpgraded(t *testing.T) {
	dir := t.TempDir()
	f := newGuestFixture(t, func(c *Config) {
		c.Registry = guestReleases{c.Registry.(guestShelf), dir}
		c.Deadlines.Configure = time.Minute // the first start compiles
	})
	f.apply(guestAssignment("g", ""))
	first := f.untilState("g", Ready)
	inspect := func() {
		t.Helper()
		var found gathered[sdk.Finding]
		d := f.Detectors()[0]
		if err := d.Inspect(t.Context(), "capture", flowFrame(50), &found); err != nil || len(found.list) != 50 {
			t.Fatalf("%d findings, %v", len(found.list), err)
		}
		if err := d.Flush(t.Context(), &found); err != nil {
			t.Fatal(err)
		}
	}
	inspect()
	if err := f.Upgrade(t.Context(), "g", "1.1.0"); err != nil {
		t.Fatal(err)
	}
	second := f.until("g", "the new version", func(s Status) bool { return s.State == Ready && s.Version == "1.1.0" })
	if second.Digest == first.Digest || second.PID == first.PID || second.Previous != "1.0.0" {
		t.Errorf("before %s in %d, after %s in %d, previous %q", first.Digest, first.PID, second.Digest, second.PID, second.Previous)
	}
	inspect()
	if err := f.Rollback(t.Context(), "g", "a test"); err != nil {
		t.Fatal(err)
	}
	f.until("g", "the old version", func(s Status) bool {
		return s.State == Ready && s.Version == "1.0.0" && s.Digest == first.Digest
	})
	inspect()
}
