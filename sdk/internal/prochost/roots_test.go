//go:build !wasip1

package prochost

import (
	"encoding/pem"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
)

// A server with a private authority is believed when the request states it, and only in that request.
func TestFetchWithRoots(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	h := New(abi.InstanceConfig{Grants: []sdk.Permission{{Cap: sdk.CapNetDial, Args: map[string][]string{"to": {"127.0.0.1"}}}}}, slog.New(slog.DiscardHandler))
	defer h.Close()
	good := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	for _, c := range []struct {
		what, roots string
		class       sdk.Class
	}{
		{"the system's", "", sdk.Downstream},
		{"its own", good, ""},
		{"the system's again", "", sdk.Downstream},
		{"none", "x", sdk.InvalidConfig},
	} {
		r, err := h.Fetch(t.Context(), sdk.Request{URL: s.URL, Roots: c.roots})
		if c.class == "" && (err != nil || string(r.Body) != "hello") || c.class != "" && (err == nil || sdk.ClassOf(err) != c.class) {
			t.Errorf("%s: %q, %v", c.what, r.Body, err)
		}
	}
}
