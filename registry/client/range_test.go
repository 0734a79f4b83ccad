package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/registry/registrytest"
)

// A server that lies about where the bytes begin that it sends. What it says never decides what is installed: wrong bytes
// are refused, and a server that cannot continue is asked for the whole.
func TestAttackRangeLies(t *testing.T) {
	big := bytes.Repeat([]byte("fedcba9876543210"), 8<<10)
	half := len(big) / 2
	r := registrytest.New(t)
	r.Publish(t, registrytest.Plugin{ID: victim, Process: big})
	files := http.FileServer(http.Dir(r.Dir))
	for name, lie := range map[string]struct {
		answer func(w http.ResponseWriter, req *http.Request)
		reason registry.Reason // "" when it is installed all the same
	}{
		"the whole as if it were the rest": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half, len(big)-1, len(big)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(big)
		}, registry.Oversized},
		"other bytes of the right number": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half, len(big)-1, len(big)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(bytes.Repeat([]byte("x"), len(big)-half))
		}, ""}, // then it is asked for the whole, which this one sends truly
		"the rest from elsewhere": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", half+1, len(big)-1, len(big)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(big[half+1:])
		}, ""},
		"the rest without a word": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(big[half:])
		}, ""},
		"no such part": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		}, ""},
		"the whole": {func(w http.ResponseWriter, req *http.Request) {
			req.Header.Del("Range")
			files.ServeHTTP(w, req)
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if strings.HasPrefix(req.URL.Path, "/store/") && req.Header.Get("Range") != "" {
					lie.answer(w, req)
					return
				}
				files.ServeHTTP(w, req)
			}))
			defer web.Close()
			dir := filepath.Join(t.TempDir(), "node")
			partial := filepath.Join(dir, "store", "partial")
			if err := errors.Join(os.MkdirAll(partial, 0o700), os.WriteFile(filepath.Join(partial, registry.Digest(big)), big[:half], 0o600)); err != nil {
				t.Fatal(err)
			}
			c := node(t, r, web.URL, func(cfg *client.Config) { cfg.Dir = dir })
			_, err := c.Install(t.Context(), victim, "", process)
			if lie.reason != "" {
				wantRefusal(t, err, lie.reason, victim)
				if _, there := c.Installed(victim); there {
					t.Error("it is installed all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := open(t, c, victim, process); !bytes.Equal(got, big) {
				t.Error("other bytes would run")
			}
		})
	}
}
