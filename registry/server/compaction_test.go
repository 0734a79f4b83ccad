package server_test

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/registrytest"
	"github.com/picketwatch/picket/registry/server"
)

// talk has a node say so often that it installed and removed a plugin; in the end it has it.
func talk(t *testing.T, r *registrytest.Registry, s *server.Server, key ed25519.PrivateKey, times int) {
	t.Helper()
	for n := range times {
		r.Advance(time.Second)
		action := registry.ActionInstalled
		if n%2 == times%2 {
			action = registry.ActionRemoved
		}
		if err := s.Receive(t.Context(), receipt(t, r, key, func(r *registry.Receipt) { r.Action = action })); err != nil {
			t.Fatal(err)
		}
	}
}

// A server that never stops does not fill its disk with what has been overtaken.
func TestJournalIsCompactedWhileTheServerRuns(t *testing.T) {
	r, known := real(t), nodes{}
	s := open(t, r, known.config)
	key := known.enrol(t)
	talk(t, r, s, key, 1)
	one := journalSize(t, r)
	talk(t, r, s, key, 1100)
	if err := s.Review(t.Context(), review(t, r, key, 5, "Fine.")); err != nil {
		t.Fatal(err)
	}
	last := receipt(t, r, key)
	if after := journalSize(t, r); after > 200*one {
		t.Errorf("the journal has %d bytes after 1,100 receipts of %d", after, one)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := server.Open(server.Config{Dir: r.Dir, Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n, rating := counts(t, again); n != 1 || rating.Count != 1 {
		t.Errorf("%d installs, %+v", n, rating)
	}
	if err := again.Receive(t.Context(), last); !errors.Is(err, server.ErrRefused) {
		t.Errorf("a replay after compaction: %v", err)
	}
}

// A journal that cannot be written anew goes on as it is, and nothing that was said is lost, wherever it failed.
func TestCompactionFails(t *testing.T) {
	for _, fails := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpRename, durable.OpSyncDir} {
		t.Run(string(fails), func(t *testing.T) {
			r, known := real(t), nodes{}
			s := open(t, r, known.config)
			key := known.enrol(t)
			failed := 0
			restore := durable.Intercept(func(op durable.Op, _ string) error {
				if op != fails {
					return nil
				}
				failed++
				return errors.New("no space left on device")
			})
			talk(t, r, s, key, 1010)
			restore()
			if failed == 0 || failed > 2 {
				t.Errorf("tried %d times", failed)
			}
			other := known.enrol(t)
			talk(t, r, s, other, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := server.Open(server.Config{Dir: r.Dir, Now: r.Now})
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if n, _ := counts(t, again); n != 2 {
				t.Errorf("%d of 2 nodes have it after a restart", n)
			}
		})
	}
}
