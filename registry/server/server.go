// Package server is the part of a registry that helps people to choose: search, plugin pages, who publishes what, how
// many nodes have it and what they think of it, and a feed of what changed. It reads a registry's folder and serves the
// same folder to clients as files. Nothing here decides what may run: a node takes nothing from this server without the
// signatures in those files, so whoever breaks into it can hide and praise plugins, and change none.
//
// What nodes tell it, signed receipts and reviews, lies in the folder's .server, in a journal that is only ever added to
// and that is on the disk before anybody gets an answer.
package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/intake"
)

// Config says which registry is served.
type Config struct {
	Dir string
	// Intake takes releases in over the wire; nil: they come into the folder some other way.
	Intake *intake.Intake
	// Nodes returns the public key of an enrolled node, whose receipts and reviews count; nil: none do.
	Nodes func(keyID string) (ed25519.PublicKey, bool)
	// WriteCounts signs what nodes told the journal called source and puts it into the folder, for copies of the registry;
	// nil: this server has no keys, and shows what the registry says that its folder is a copy of.
	WriteCounts func(ctx context.Context, source string, plugins []registry.PluginCounts) error
	// Upstream brings files that the folder does not have from another registry; nil: what is not there is not there.
	Upstream  Upstream
	PublicURL string // under which people reach this server, for links in feeds; may be empty
	Now       func() time.Time
	Log       *slog.Logger
}

// Upstream is another registry that this one stands in for.
type Upstream interface {
	// Sync brings the newest verified metadata into the folder.
	Sync(ctx context.Context) error
	// Fetch brings one file into the folder, whose path names its digest or version.
	Fetch(ctx context.Context, path string) error
}

// Server serves one registry. It is safe for concurrent use.
type Server struct {
	cfg    Config
	root   *os.Root
	ledger *ledger
	posts  *limiter

	loading sync.Mutex
	shelf   atomic.Pointer[shelf]
	checked atomic.Int64 // when the folder was last looked at, in Unix nanoseconds

	counting sync.Mutex
	counted  []registry.PluginCounts // as they were written last

	syncAt     atomic.Int64 // when upstream may be asked again, in Unix nanoseconds
	asking     sync.Mutex
	background sync.WaitGroup
	closing    context.Context
	stop       context.CancelFunc
}

// folder is where the server keeps what is its own; it is never served.
const folder = ".server"

// Open reads a registry. One without an index can be served too, but nothing is found in it.
func Open(cfg Config) (*Server, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Nodes == nil {
		cfg.Nodes = func(string) (ed25519.PublicKey, bool) { return nil, false }
	}
	root, err := os.OpenRoot(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("serve registry: %w", err)
	}
	s := &Server{cfg: cfg, root: root, posts: newLimiter(cfg.Now)}
	s.closing, s.stop = context.WithCancel(context.Background())
	if s.ledger, err = openLedger(filepath.Join(cfg.Dir, folder), cfg.Log); err != nil {
		return nil, errors.Join(fmt.Errorf("serve registry %s: %w", cfg.Dir, err), root.Close())
	}
	s.shelf.Store(emptyShelf())
	if err := s.Reload(); err != nil {
		cfg.Log.Warn("the registry has no index that can be used; search finds nothing until its next change", "dir", cfg.Dir, "error", err)
	}
	if cfg.WriteCounts != nil {
		s.background.Go(s.countOn)
	}
	return s, nil
}

// Close releases the journal and the folder.
func (s *Server) Close() error {
	s.stop()
	s.background.Wait()
	return errors.Join(s.ledger.close(), s.root.Close())
}

// Reload reads the index again. Search does so by itself soon after it has changed.
func (s *Server) Reload() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	return s.load()
}

func (s *Server) load() error {
	next, err := readShelf(s.root)
	if err != nil {
		return err
	}
	s.readElsewhere(next)
	if err := s.ledger.note(next, s.cfg.Now()); err != nil {
		s.cfg.Log.Warn("what was yanked or revoked could not be written down for the feed", "error", err)
	}
	s.shelf.Store(next)
	return nil
}

// freshness is how old an answer may be.
const freshness = time.Second

// current returns what the registry offers, at most freshness old. Whoever finds that the index has changed reads it;
// the others are given the one before meanwhile.
func (s *Server) current() *shelf {
	if s.syncDue() { // whoever searches does not wait for another registry
		s.background.Go(func() { s.sync(s.closing) })
	}
	now := s.cfg.Now().UnixNano()
	last := s.checked.Load()
	if age := now - last; age >= 0 && age < int64(freshness) || !s.checked.CompareAndSwap(last, now) {
		return s.shelf.Load()
	}
	have := s.shelf.Load()
	if stamp, err := indexStamp(s.root); err != nil || stamp.Same(have.stamp) && !s.countsChanged(have) || !s.loading.TryLock() {
		return have
	}
	defer s.loading.Unlock()
	if err := s.load(); err != nil {
		s.cfg.Log.Warn("the index cannot be read; the one before is used", "dir", s.cfg.Dir, "error", err)
	}
	return s.shelf.Load()
}
