package pluginhost

import (
	"context"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// programShelf hands out a program of this machine.
type programShelf struct{ path string }

func (s programShelf) OpenVerified(_ context.Context, id, rt string) (*client.Artifact, error) {
	data, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	return &client.Artifact{ID: id, Version: "1.0.0", Runtime: rt, Digest: fmt.Sprintf("%x", sha256.Sum256(data)), File: f,
		Descriptor: &registry.Descriptor{Manifest: registry.Manifest{ID: id, Version: "1.0.0", Kind: sdk.KindCollector}}}, nil
}

// A program that wants libraries is told why it finds none.
func TestADynamicProgramIsToldWhatToDo(t *testing.T) {
	const program = "/bin/sleep"
	if f, err := elf.Open(program); err != nil {
		t.Fatal(err)
	} else if libs, _ := f.ImportedLibraries(); len(libs) == 0 {
		t.Fatalf("%s is linked statically here", program)
	}
	if !confine.Detect().Level.AtLeast(confine.LevelB) {
		t.Skip("user_namespaces: without them a program sees the machine's libraries")
	}
	f := newFixture(t, func(c *Config) { c.Registry = programShelf{program} })
	f.apply(versionedAssignment("d", "dynamic/collector", "1.0.0"))
	st := f.until("d", "a reason", func(s Status) bool { return s.State == Backoff || s.State == Quarantined })
	for _, want := range []string{"linked dynamically", "CGO_ENABLED=0"} {
		if !strings.Contains(st.Reason, want) {
			t.Errorf("the reason does not say %q: %s", want, st.Reason)
		}
	}
}
