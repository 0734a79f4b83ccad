package api

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

func TestPagesAreCompressed(t *testing.T) {
	w := newWorld(t)
	script := strings.Repeat("export const words = 'the same again';\n", 200)
	w.pages.files = fstest.MapFS{
		"index.html": {Data: []byte("<!doctype html>app")}, "assets/a.js": {Data: []byte(script)}, "assets/f.woff2": {Data: []byte(script)},
	}
	get := func(path, accepts string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Accept-Encoding", accepts)
		return w.send(r)
	}
	for range 2 {
		out := get("/assets/a.js", "br, gzip")
		if e := out.Header().Get("Content-Encoding"); e != "gzip" || out.Body.Len() >= len(script) {
			t.Fatalf("encoding %q, %d bytes of %d", e, out.Body.Len(), len(script))
		}
		unpacked, err := gzip.NewReader(out.Body)
		check(t, err)
		if got, err := io.ReadAll(unpacked); err != nil || string(got) != script {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if kind, cache := out.Header().Get("Content-Type"), out.Header().Get("Cache-Control"); !strings.HasPrefix(kind, "text/javascript") || !strings.Contains(cache, "immutable") {
			t.Errorf("type %q, cache %q", kind, cache)
		}
	}
	for path, accepts := range map[string]string{"/assets/a.js": "gzip;q=0, br", "/": "gzip", "/assets/f.woff2": "gzip"} {
		out := get(path, accepts)
		if e := out.Header().Get("Content-Encoding"); out.Code != 200 || e != "" || out.Body.Len() == 0 {
			t.Errorf("%s for %q: %d, encoding %q", path, accepts, out.Code, e)
		}
		if out.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: a cache would take one for the other", path)
		}
	}
	if out := get("/assets/none.js", "gzip"); out.Code != 404 || out.Header().Get("Content-Encoding") != "" {
		t.Errorf("what is not there: %d", out.Code)
	}
}
