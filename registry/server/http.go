package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/problem"
)

// The bounds of what is posted: the body of a complaint, and how long any body may take to come.
const (
	maxReport   = 16 << 10
	postTimeout = 20 * time.Second
)

// Handler returns the registry's HTTP face: its files, and /v1. Mount it under any prefix with http.StripPrefix.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/search", s.answer(func(r *http.Request) (any, error) {
		q, err := ParseQuery(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return s.Search(r.Context(), q)
	}))
	mux.HandleFunc("GET /v1/front", s.answer(func(r *http.Request) (any, error) { return s.Front(r.Context()) }))
	mux.HandleFunc("GET /v1/plugins/{ns}/{name}", s.answer(func(r *http.Request) (any, error) {
		return s.Plugin(r.Context(), pluginID(r), r.URL.Query().Get("version"))
	}))
	mux.HandleFunc("GET /v1/plugins/{ns}/{name}/reviews", s.answer(func(r *http.Request) (any, error) {
		reviews, err := s.Reviews(r.Context(), pluginID(r))
		return map[string]any{"reviews": reviews}, err
	}))
	mux.HandleFunc("GET /v1/publishers/{ns}", s.answer(func(r *http.Request) (any, error) {
		return s.Publisher(r.Context(), r.PathValue("ns"))
	}))
	mux.HandleFunc("GET /v1/feed.json", s.feedJSON)
	mux.HandleFunc("GET /v1/feed.atom", s.feedAtom)
	mux.HandleFunc("POST /v1/receipts", s.post(registry.MaxReceipt, func(r *http.Request, body []byte) error { return s.Receive(r.Context(), body) }))
	mux.HandleFunc("POST /v1/reviews", s.post(registry.MaxReview, func(r *http.Request, body []byte) error { return s.Review(r.Context(), body) }))
	mux.HandleFunc("POST /v1/reports", s.post(maxReport, s.postReport))
	s.handleReleases(mux)
	mux.HandleFunc("GET /v1/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, fmt.Errorf("%s %.100s: %w", r.Method, r.URL.Path, ErrNotFound))
	})
	mux.HandleFunc("GET /", s.serveFile)
	return guard(mux)
}

func pluginID(r *http.Request) string { return r.PathValue("ns") + "/" + r.PathValue("name") }

// guard sets what every answer has. What authors wrote is never more than text to a browser.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
		next.ServeHTTP(w, r)
	})
}

// answer is a request that is answered with JSON. Answers carry a tag, so that who asks again for what has not changed
// gets no second copy.
func (s *Server) answer(find func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v, err := find(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		data, err := json.Marshal(v)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		send(w, r, "application/json", data)
	}
}

// send answers with a body that may have changed since it was last asked for.
func send(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	tag := `"` + registry.Digest(body)[:32] + `"`
	w.Header().Set("ETag", tag)
	w.Header().Set("Cache-Control", "no-cache")
	if matches(r.Header.Get("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", contentType)
	if _, err := w.Write(body); err != nil {
		return // the other end went away
	}
}

func matches(header, tag string) bool {
	for known := range strings.SplitSeq(header, ",") {
		if known = strings.TrimPrefix(strings.TrimSpace(known), "W/"); known == tag || known == "*" {
			return true
		}
	}
	return false
}

// post is a request that says something to the registry.
func (s *Server) post(maxBytes int64, take func(*http.Request, []byte) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.posts.allow(r) {
			w.Header().Set("Retry-After", "60")
			s.fail(w, r, errTooOften)
			return
		}
		deadline := time.Now().Add(postTimeout)
		if err := http.NewResponseController(w).SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
			s.fail(w, r, err)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBytes))
		if err == nil {
			err = take(r, body)
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s *Server) postReport(r *http.Request, body []byte) error {
	var rep Report
	if err := json.Unmarshal(body, &rep); err != nil {
		return refused(err)
	}
	return s.Report(r.Context(), rep)
}

var errTooOften = errors.New("too many requests from this address; try again in a minute")

// fail answers with a problem, and keeps to itself what is only ours to know.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	code := status(err)
	if code == http.StatusInternalServerError {
		s.cfg.Log.Error("a request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		err = errors.New("the registry cannot answer this now; its log says why")
	}
	problem.Write(w, r, code, err)
}

func status(err error) int {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, ErrQuery):
		return http.StatusBadRequest
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusRequestTimeout
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, errTooOften):
		return http.StatusTooManyRequests
	case errors.Is(err, errNotNewer):
		return http.StatusConflict
	case errors.Is(err, errUnknownNode), errors.Is(err, errNoReceipt):
		return http.StatusForbidden
	case errors.Is(err, errFull):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrRefused):
		return http.StatusUnprocessableEntity
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}
