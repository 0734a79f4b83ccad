//go:build linux

package pluginhost

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// guestShelf hands out one guest.
type guestShelf struct{ path string }

func (s guestShelf) OpenVerified(_ context.Context, id, _ string) (*client.Artifact, error) {
	module, err := os.ReadFile(s.path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	d := &registry.Descriptor{Manifest: registry.Manifest{
		ID: id, Version: "1.0.0", Kind: sdk.KindDetector, Permissions: readsFlows, Limits: registry.Limits{Memory: "32Mi"},
	}}
	return &client.Artifact{ID: id, Version: "1.0.0", Runtime: RuntimeWASM, Digest: fmt.Sprintf("%x", sha256.Sum256(module)), File: f, Descriptor: d}, nil
}

// newGuestFixture builds the real runner and the guest of testdata.
func newGuestFixture(t *testing.T, change func(*Config)) *fixture {
	t.Helper()
	dir := t.TempDir()
	build := func(out, pkg string, env ...string) {
		t.Helper()
		args := []string{"build", "-o", filepath.Join(dir, out)}
		if env != nil {
			args = append(args, "-buildmode=c-shared")
		}
		cmd := exec.Command("go", append(args, pkg)...)
		cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", pkg, err, text)
		}
	}
	build("picket-wasm", "github.com/picketwatch/picket/cmd/picket-wasm")
	build("guest.wasm", "./testdata/guest", "GOOS=wasip1", "GOARCH=wasm")
	launch, err := os.ReadFile(filepath.Join(helpers(t), "picket-launch"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "picket-launch"), launch, 0o755); err != nil {
		t.Fatal(err)
	}
	return newFixture(t, func(c *Config) {
		c.Helpers, c.Registry = dir, guestShelf{filepath.Join(dir, "guest.wasm")}
		if change != nil {
			change(c)
		}
	})
}

func guestAssignment(instance, mode string) Assignment {
	cfg, _ := json.Marshal(map[string]string{"mode": mode})
	return Assignment{Instance: instance, Plugin: "test/guest", Version: "1.0.0", Runtime: RuntimeWASM, Config: cfg}
}

// A guest is an instance like any other: the same calls, the same states, and what it does wrong ends its process.
func TestGuests(t *testing.T) {
	f := newGuestFixture(t, func(c *Config) {
		c.Deadlines.Inspect = 700 * time.Millisecond
		c.Deadlines.Configure = time.Minute // the first start compiles
	})
	inspect := func(instance string) ([]sdk.Finding, error) {
		t.Helper()
		f.untilState(instance, Ready)
		var found gathered[sdk.Finding]
		for _, d := range f.Detectors() {
			if d.Instance() == instance {
				err := d.Inspect(t.Context(), "capture-1", flowFrame(200), &found)
				return found.list, err
			}
		}
		t.Fatalf("no detector %s", instance)
		return nil, nil
	}

	f.apply(guestAssignment("good", ""))
	found, err := inspect("good")
	if err != nil || len(found) != 200 || found[0].Summary != "capture-1" || found[0].Detector != "test/guest" {
		t.Fatalf("%d findings, %v", len(found), err)
	}
	good := f.untilState("good", Ready)
	if exe, _ := os.Readlink("/proc/" + strconv.Itoa(good.PID) + "/exe"); !strings.HasSuffix(exe, "/picket-wasm") {
		t.Errorf("it runs in %s", exe)
	}

	for _, c := range []struct{ mode, says string }{
		{"spin", "did not answer Inspect within 700ms"},
		{"panic", "I cannot go on"},
		{"eat", "memory"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			f.apply(guestAssignment("good", ""), guestAssignment("bad", c.mode))
			f.untilState("bad", Ready)
			before, _ := f.Instance("bad")
			if _, err := inspect("bad"); err == nil {
				t.Error("the call came back without an error")
			}
			waitGone(t, before.PID)
			f.until("bad", "a reason that says "+c.says, func(s Status) bool {
				return s.Ledger.Crashes > before.Ledger.Crashes && slices.ContainsFunc(s.History, func(x Transition) bool {
					return strings.Contains(strings.ToLower(x.Reason), strings.ToLower(c.says))
				})
			})
		})
	}
	if now := f.untilState("good", Ready); now.PID != good.PID {
		t.Error("another guest was disturbed")
	}
	if cached, _ := filepath.Glob(filepath.Join(f.guestCache(), "*")); len(cached) == 0 {
		t.Error("nothing was compiled into the cache")
	}
}
