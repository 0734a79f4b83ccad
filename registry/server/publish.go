package server

import (
	"errors"
	"net/http"
)

// errNoIntake is of a registry that publishes some other way.
var errNoIntake = errors.New("this registry takes no releases over the wire; ask its people how it does (`picket registry serve --keys` makes one that does)")

// handleReleases mounts what takes releases in, under the same limit for each address as the other posts.
func (s *Server) handleReleases(mux *http.ServeMux) {
	if s.cfg.Intake == nil {
		mux.HandleFunc("POST /v1/releases", func(w http.ResponseWriter, r *http.Request) {
			s.fail(w, r, errors.Join(errNoIntake, ErrNotFound))
		})
		return
	}
	next := s.cfg.Intake.Handler()
	mux.HandleFunc("POST /v1/releases", func(w http.ResponseWriter, r *http.Request) {
		if !s.posts.allow(r) {
			w.Header().Set("Retry-After", "60")
			s.fail(w, r, errTooOften)
			return
		}
		next.ServeHTTP(w, r)
	})
	mux.Handle("GET /v1/jobs/{id}", next)
}
