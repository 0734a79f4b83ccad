// Package identity makes the certificates that a host and a plugin process show each other.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Name is what every certificate is for. It says nothing: each side trusts the one certificate that it was handed.
const Name = "localhost"

// Curves are the key exchanges that are offered: the connection is a socket between two processes of one machine, which
// nobody records to break it later, and a post-quantum exchange would cost each start more than all the rest of TLS.
var Curves = []tls.CurveID{tls.X25519, tls.CurveP256}

// New makes a certificate that signs itself, with a key that never leaves the process. The key is on P-256: the TLS of
// grpcio, and with it of plugins in Python and other languages, does not take the P-521 that go-plugin would use, and it
// takes a tenth of the time and none of the 300 KB of tables.
func New() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a serial number: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: Name}, DNSNames: []string{Name}, SerialNumber: serial,
		NotBefore: time.Now().Add(-30 * time.Second), NotAfter: time.Now().AddDate(30, 0, 0),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// PEM is how a host hands its certificate to a plugin.
func PEM(cert tls.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}))
}

// Server is the plugin's side of mutual TLS: it takes nobody but the owner of the certificate in clientPEM.
func Server(cert tls.Certificate, clientPEM string) (*tls.Config, error) {
	client := x509.NewCertPool()
	if !client.AppendCertsFromPEM([]byte(clientPEM)) {
		return nil, fmt.Errorf("the host's certificate cannot be read")
	}
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: client,
		MinVersion: tls.VersionTLS13, CurvePreferences: Curves,
	}, nil
}

// Client is the host's side, without the plugin's certificate as the only root, which the handshake brings.
func Client(cert tls.Certificate) *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, CurvePreferences: Curves,
		ServerName: Name, RootCAs: x509.NewCertPool(),
	}
}
