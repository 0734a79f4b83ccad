package mirror_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/mirror"
	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
)

// Whichever step on the disk is the last that works, the copy is as before or as after, and the next run completes it.
func TestMirrorDiesAnywhere(t *testing.T) {
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: "picket/ping", Readme: []byte("# Ping")})
	first := filepath.Join(t.TempDir(), "first")
	all(t, open(t, r, first, r.Dir))
	acme := r.Claim(t, "acme")
	r.Upload(t, acme, registrytest.Plugin{ID: "acme/snmp", Readme: []byte("# SNMP")})
	outcomes := map[int]int{}
	for fail := 0; ; fail++ {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(first)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, ".server", "upstream"), 0o700); err != nil { // CopyFS makes it readable
			t.Fatal(err)
		}
		m := open(t, r, dir, r.Dir)
		steps := 0
		restore := durable.Intercept(func(durable.Op, string) error {
			if steps++; steps > fail {
				return errors.New("no space left on device")
			}
			return nil
		})
		_, err := m.All(t.Context(), func(mirror.Progress) {})
		restore()
		report, verifyErr := publish.Verify(dir, nil, r.Now())
		if verifyErr != nil || !report.OK() {
			t.Fatalf("dead at step %d: %+v, %v", fail, report, verifyErr)
		}
		outcomes[len(report.Releases)]++
		if err == nil {
			break
		}
		all(t, open(t, r, dir, r.Dir))
		report, verifyErr = publish.Verify(dir, nil, r.Now())
		if verifyErr != nil || !report.OK() || report.Index != "" || len(report.Releases) != 2 {
			t.Fatalf("after step %d and another run: %+v, %v", fail, report, verifyErr)
		}
	}
	if outcomes[1] < 10 || outcomes[2] < 2 {
		t.Errorf("the steps that failed led to %v", outcomes)
	}
}
