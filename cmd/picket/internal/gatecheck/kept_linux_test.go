package gatecheck

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/picketwatch/picket/registry"
)

// What is kept stays whole when the disk takes no other answer in its place.
func TestKeptOnAFullDisk(t *testing.T) {
	k, r := Kept{Dir: t.TempDir()}, releaseOf(strings.Repeat("1", 64))
	if err := k.save(registry.GateRebuild, r, "", []string{"first"}); err != nil {
		t.Fatal(err)
	}
	id, err := subject(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/full", k.path(registry.GateRebuild, id)+".new"); err != nil {
		t.Fatal(err)
	}
	if err := k.save(registry.GateRebuild, r, "", []string{"second"}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	var found []string
	if !k.load(registry.GateRebuild, r, "", &found) || len(found) != 1 || found[0] != "first" {
		t.Errorf("kept is %q", found)
	}
}
