//go:build linux

package agent

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/picketwatch/picket/core/kernel/agents/token"
)

func TestPlainHTTPToAnotherMachineIsRefused(t *testing.T) {
	for address, fine := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost:8080": true, "http://[::ffff:127.0.0.1]:1": true,
		"https://picket.example": true, "http://picket.example": false, "http://10.0.0.1:8080": false, "http://127.0.0.1.example": false,
	} {
		u, err := serverURL(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := secureEnough(u, false); (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
		if err := secureEnough(u, true); err != nil {
			t.Errorf("%s, accepted: %v", address, err)
		}
	}
	s := newSite(t)
	cfg := s.cfg(t.TempDir())
	cfg.Enrolment.Token = token.Enrolment{Server: "http://192.0.2.1:8080", Secret: "x", RootSHA256: s.registry.RootSHA256(t)}.String()
	_, err := New(t.Context(), cfg)
	if !errors.As(err, new(*UsageError)) {
		t.Fatalf("enrolled in the clear: %v", err)
	}
	contains(t, err.Error(), "--insecure-http", "tls_cert")
}

func TestAPrivateAuthority(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, fine := range map[string]bool{"": false, ca: true} {
		c, err := newHTTPClient(file)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Get(s.URL)
		if (err == nil) != fine {
			t.Errorf("with %q: %v", file, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
	if _, err := newHTTPClient("/dev/null"); err == nil {
		t.Error("a file without a certificate")
	}
}
