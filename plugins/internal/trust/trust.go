// Package trust makes the TLS settings of plugins that talk to a server: what goes in is an operator's own certificate
// authority, if any, what comes out is a configuration that always verifies the other side.
package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"

	"github.com/picketwatch/picket/sdk"
)

// Config trusts the authorities of caPEM instead of the system's when it is set. Checking cannot be switched off: who
// has a private certificate states its authority.
func Config(serverName, caPEM string) (*tls.Config, error) {
	c := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	if caPEM == "" {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM([]byte(caPEM)) {
		return nil, sdk.Errorf(sdk.InvalidConfig, "ca_certificates: no certificate in PEM form found")
	}
	return c, nil
}

// Class says whether trying again may help after a failed handshake. A name that does not match or an authority that is
// not trusted stays so until someone changes a setting; an expired certificate is usually renewed soon.
func Class(err error) (sdk.Class, bool) {
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return sdk.Temporary, true
	}
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	if errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &name) {
		return sdk.Downstream, true
	}
	return "", false
}

// Roots are the authorities of caPEM or else the system's, nil where neither is known: a WASM guest sees no system.
func Roots(caPEM string) *x509.CertPool {
	if caPEM != "" {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(caPEM)) // Config has checked it
		return pool
	}
	pool, err := x509.SystemCertPool()
	if err != nil || pool.Equal(x509.NewCertPool()) {
		return nil
	}
	return pool
}
