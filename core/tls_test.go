package core

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate for loopback and its key.
func certificate(t *testing.T) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	check(t, err)
	raw, err := x509.MarshalECPrivateKey(private)
	check(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	check(t, os.WriteFile(cert, text, 0o600))
	check(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), 0o600))
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return cert, key, pool
}

func TestTLSWithoutAProxy(t *testing.T) {
	c := &Core{cfg: Config{Settings: settings(t.TempDir())}}
	defer c.Close()
	var pool *x509.CertPool
	c.cfg.Settings.TLSCert, c.cfg.Settings.TLSKey, pool = certificate(t)
	check(t, c.cfg.Settings.Validate())
	check(t, c.listen(t.Context()))
	if !strings.HasPrefix(c.URL(), "https://127.0.0.1:") {
		t.Errorf("the address is %s", c.URL())
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(c.listener) }()
	defer server.Close()
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := web.Get(c.URL())
	check(t, err)
	resp.Body.Close()

	half := settings(t.TempDir())
	half.TLSCert = "cert.pem"
	if half.Validate() == nil {
		t.Error("a certificate without its key")
	}
	broken := &Core{cfg: Config{Settings: half}}
	if err := broken.listen(t.Context()); err == nil || !strings.Contains(err.Error(), "tls_cert") {
		t.Errorf("a certificate that is not there: %v", err)
	}
}

// The token of the local agent stands on no command line, and nothing of our environment reaches the agent.
func TestTheChildGetsItsTokenOnItsInput(t *testing.T) {
	t.Setenv("PICKET_SECRET", "inherited")
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	check(t, os.WriteFile(program, []byte("#!/bin/sh\n{ cat; echo; echo \"$@\"; env; } > "+dir+"/out.new\nmv "+dir+"/out.new "+dir+"/out\n"), 0o700))
	c := newChild(program, func(context.Context) ([]string, string, error) {
		return []string{"--token-file", "-"}, "the-token", nil
	}, slog.New(slog.DiscardHandler))
	done, err := c.start(t.Context())
	check(t, err)
	<-done
	raw, err := os.ReadFile(filepath.Join(dir, "out"))
	check(t, err)
	text := string(raw)
	if !strings.HasPrefix(text, "the-token\n--token-file - --lifeline-fd 3\n") || strings.Contains(text, "inherited") {
		t.Errorf("it got %q", text)
	}
}
