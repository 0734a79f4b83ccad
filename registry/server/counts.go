package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
)

// What nodes told this server is in its journal, which nobody else has. The keys of the registry sign the sums, so that a
// copy of the folder shows them. A node speaks to one server, so a copy adds what it was told itself.

// How often the sums are written when they have changed, and how long that may take: somebody may be working on the
// registry, and whoever stops the server does not wait for that.
const (
	countsEvery   = 10 * time.Minute
	countsTimeout = time.Minute
	countsAtEnd   = 3 * time.Second
)

// counts is what is known of a plugin.
func (s *Server) counts(id string) (installs int, r Rating) {
	t := s.ledger.tally(id).plus(s.shelf.Load().elsewhere[id])
	if t.reviews > 0 {
		r = Rating{Stars: float64(t.stars) / float64(t.reviews), Count: t.reviews}
	}
	return t.installs, r
}

func (t tally) plus(o tally) tally {
	return tally{t.installs + o.installs, t.stars + o.stars, t.reviews + o.reviews}
}

// countOn writes the sums now and then, and a last time when the server is closed.
func (s *Server) countOn() {
	tick := time.NewTicker(countsEvery)
	defer tick.Stop()
	for patience, last := countsTimeout, false; ; {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := s.WriteCounts(ctx); err != nil {
			s.cfg.Log.Warn("how many nodes have what could not be written down for copies of the registry", "dir", s.cfg.Dir, "error", err)
		}
		cancel()
		if last {
			return
		}
		select {
		case <-s.closing.Done():
			patience, last = countsAtEnd, true
		case <-tick.C:
		}
	}
}

// WriteCounts has the sums written, if they have changed since. The server does so by itself.
func (s *Server) WriteCounts(ctx context.Context) error {
	if s.cfg.WriteCounts == nil {
		return nil
	}
	s.counting.Lock()
	defer s.counting.Unlock()
	now := s.ledger.sums()
	if slices.Equal(now, s.counted) {
		return nil
	}
	if err := s.cfg.WriteCounts(ctx, s.ledger.id, now); err != nil {
		return err
	}
	s.counted = now
	return nil
}

// tally is what nodes told this server of a plugin.
func (l *ledger) tally(plugin string) tally {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tallies[plugin]
}

// sums lists the tallies by plugin.
func (l *ledger) sums() []registry.PluginCounts {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]registry.PluginCounts, 0, len(l.tallies))
	for id, t := range l.tallies {
		out = append(out, registry.PluginCounts{ID: id, Installs: t.installs, Reviews: t.reviews, Stars: t.stars})
	}
	slices.SortFunc(out, func(a, b registry.PluginCounts) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// idFile names the journal beside it.
const idFile = "id"

// readID returns the name of a journal, which it gets the first time.
func readID(dir string) (string, error) {
	path := filepath.Join(dir, idFile)
	data, err := durable.ReadFile(path, 1<<10)
	if err == nil {
		return strings.TrimSpace(string(data)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	id := hex.EncodeToString(b[:])
	return id, durable.WriteFile(path, []byte(id+"\n"), 0o600)
}

// readElsewhere reads the sums of the registry that this folder is a copy of. Those of the own journal are known already.
func (s *Server) readElsewhere(sh *shelf) {
	info, err := s.root.Stat(registry.CountsPath)
	if err != nil || s.cfg.WriteCounts != nil {
		return
	}
	sh.countsAt = durable.StampOf(info)
	c, err := readCounts(s.root, sh)
	if err != nil {
		s.cfg.Log.Warn("the counts of the registry cannot be read", "dir", s.cfg.Dir, "error", err)
		return
	}
	if c.Source == s.ledger.id {
		return
	}
	sh.elsewhere = make(map[string]tally, len(c.Plugins))
	for _, n := range c.Plugins {
		sh.elsewhere[n.ID] = tally{installs: n.Installs, stars: n.Stars, reviews: n.Reviews}
	}
}

func readCounts(dir *os.Root, sh *shelf) (*registry.Counts, error) {
	data, err := durable.ReadFileIn(dir, registry.CountsPath, registry.MaxCounts)
	if err != nil {
		return nil, err
	}
	return registry.OpenCounts(data, sh.index.RootSHA256, sh.keys)
}

// countsChanged reports whether there are other sums than those that were read.
func (s *Server) countsChanged(have *shelf) bool {
	if s.cfg.WriteCounts != nil {
		return false
	}
	info, err := s.root.Stat(registry.CountsPath)
	if err != nil {
		return false
	}
	return !durable.StampOf(info).Same(have.countsAt)
}
