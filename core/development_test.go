package core

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry/publish"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/sdk"
)

// A default plugin of --dev follows the newest version until somebody chooses another one for it.
func TestTheVersionThatWasChosenStays(t *testing.T) {
	bin, dir := programs(t, nil), filepath.Join(t.TempDir(), "data")
	built, keys := filepath.Join(bin, "registry"), filepath.Join(bin, "registry-keys")
	developmentRegistry(t, built, keys)
	offer := func(version string) {
		t.Helper()
		p, err := publish.Open(t.Context(), built, keys, time.Now)
		check(t, err)
		defer p.Close()
		release := registrytest.Plugin{ID: "picket/host", Version: version, Kind: sdk.KindCollector, Process: []byte("the program of " + version)}
		_, err = p.Add(t.Context(), []publish.Submission{release.Submission(t)})
		check(t, err)
	}
	restart := func() *running { return start(t, Config{Settings: settings(dir), Programs: bin, Dev: true}) }
	runs := func(s *running, want string) {
		t.Helper()
		row, err := s.control.AssignmentByInstance(t.Context(), s.tenant, "picket/host")
		check(t, err)
		if row.Version != want || !row.Enabled {
			t.Errorf("it should run %s, but %+v", want, row)
		}
	}

	offer("0.1.0")
	s := restart()
	runs(s, "0.1.0")
	check(t, s.stop())

	offer("0.1.1")
	s = restart()
	runs(s, "0.1.1")
	// Back to the version before: what an operator's rollback stores for a plugin on agents, and what a node stores that went
	// back by itself.
	check(t, s.catalogue.Upgrade(t.Context(), "picket/host", "picket/host", "0.1.0", "admin"))
	check(t, s.stop())

	for range 2 { // also when nothing new has come
		s = restart()
		runs(s, "0.1.0")
		check(t, s.stop())
		offer("0.1.2")
	}

	s = restart()
	runs(s, "0.1.0")
	check(t, s.catalogue.Upgrade(t.Context(), "picket/host", "picket/host", "0.1.2", "admin"))
	check(t, s.stop())
	s = restart()
	runs(s, "0.1.2")
}
