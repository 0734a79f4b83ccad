package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
)

// fileKind is how a file of a registry may be kept by whoever asked for it.
type fileKind int

const (
	private fileKind = iota // not part of what is served
	mutable                 // the same name holds something else tomorrow
	lasting                 // its name says what it holds: a digest, or a version that is never signed twice
)

// kindOf sorts out which files of the folder the world may see: what a client needs and nothing else that lies there.
func kindOf(name string) fileKind {
	dir, base := path.Split(name)
	switch {
	case name != path.Clean(name) || strings.HasPrefix(base, ".") || strings.Contains(name, "/."):
		return private
	case name == registry.IndexPath || name == registry.UpstreamPath || name == registry.CountsPath || name == "metadata/timestamp.json" || name == "metadata/root.json":
		return mutable
	case (dir == "metadata/" || isEvidence(dir)) && isVersioned(base):
		return lasting
	case isEvidence(dir) && strings.HasSuffix(base, ".chain.json"):
		return mutable
	case dir == "store/sha256/" && registry.ValidDigest(base):
		return lasting
	case strings.HasPrefix(name, "targets/"):
		if digest, _, ok := strings.Cut(base, "."); ok && registry.ValidDigest(digest) {
			return lasting
		}
	}
	return private
}

// isVersioned reports whether a file of metadata is called 7.snapshot.json and not snapshot.json.
func isVersioned(base string) bool {
	version, role, _ := strings.Cut(base, ".")
	_, err := strconv.ParseUint(version, 10, 63)
	return err == nil && strings.HasSuffix(role, ".json") && len(role) > len(".json")
}

// isEvidence reports whether a folder holds what another registry's authors signed.
func isEvidence(dir string) bool {
	root, ok := strings.CutPrefix(dir, registry.EvidenceDir+"/")
	return ok && registry.ValidDigest(strings.TrimSuffix(root, "/"))
}

// aYear is as long as caches keep anything.
const aYear = "public, max-age=31536000, immutable"

// serveFile serves the registry's folder, as any web server would, with Range and the right word to caches.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	kind := kindOf(name)
	if kind == private {
		s.fail(w, r, fmt.Errorf("%.200s: %w", name, ErrNotFound))
		return
	}
	if kind == mutable {
		s.sync(s.closing) // for whoever comes next too, should this one go away
	} else {
		s.ensure(r.Context(), name)
	}
	f, err := s.root.Open(name)
	if err != nil {
		s.failFile(w, r, name, err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		s.failFile(w, r, name, errors.Join(err, fs.ErrNotExist))
		return
	}
	modified := info.ModTime()
	if kind == lasting {
		modified = time.Time{} // a copy has the same bytes, so its age says nothing; the name is the tag
		w.Header().Set("Cache-Control", aYear)
		w.Header().Set("ETag", `"`+path.Base(name)+`"`)
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	w.Header().Set("Content-Type", contentType(name))
	http.ServeContent(w, r, "", modified, f)
}

func contentType(name string) string {
	if strings.HasSuffix(name, ".json") {
		return "application/json"
	}
	return "application/octet-stream"
}

func (s *Server) failFile(w http.ResponseWriter, r *http.Request, name string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%.200s: %w", name, ErrNotFound)
	}
	s.fail(w, r, err)
}

// How long what upstream said last is good for, how long it is left alone when it did not answer, and how long it may
// take to.
const (
	syncEvery   = 5 * time.Second
	syncAgain   = 30 * time.Second
	syncTimeout = 10 * time.Second
)

// sync asks upstream for what is new, unless somebody just did or does. Without an answer, what is here goes on being
// served.
func (s *Server) sync(ctx context.Context) {
	if !s.syncDue() {
		return
	}
	if !s.asking.TryLock() {
		if _, err := s.root.Stat("metadata/timestamp.json"); err == nil {
			return
		}
		s.asking.Lock() // the very first: there is nothing to serve meanwhile
	}
	defer s.asking.Unlock()
	if !s.syncDue() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	pause := syncEvery
	if err := s.cfg.Upstream.Sync(ctx); err != nil {
		s.cfg.Log.Warn("upstream has no news that can be used; what is here is served", "error", err)
		pause = syncAgain
	}
	s.syncAt.Store(s.cfg.Now().Add(pause).UnixNano())
}

func (s *Server) syncDue() bool {
	return s.cfg.Upstream != nil && s.cfg.Now().UnixNano() >= s.syncAt.Load()
}

// usedEvery is how exactly the time of a file says when it was last asked for.
const usedEvery = time.Hour

// ensure has upstream bring a file that is not here, and notes of one that is that somebody asked for it: upstream may
// make room by what nobody asks for.
func (s *Server) ensure(ctx context.Context, name string) {
	if s.cfg.Upstream == nil {
		return
	}
	if info, err := s.root.Stat(name); err == nil {
		if now := time.Now(); now.Sub(info.ModTime()) > usedEvery {
			_ = s.root.Chtimes(name, now, now) // should it be gone too early, it is fetched again
		}
		return
	}
	if err := s.cfg.Upstream.Fetch(ctx, name); err != nil {
		s.cfg.Log.Info("upstream did not bring a file", "file", name, "error", err)
	}
}
