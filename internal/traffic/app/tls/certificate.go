package tls

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Certificates is the fact of a certificate message, the sender's own first.
type Certificates struct {
	Chain []*Certificate
}

// Certificate is what one says. It may be kept: it is shared by all who sent it.
type Certificate struct {
	SHA256           string // of the whole, in hex
	Subject, Issuer  string // RFC 2253
	Serial           string // hex
	NotBefore, After time.Time
	Names            []string // DNS names and addresses that it is for
	KeyType          string   // RSA, ECDSA, Ed25519
	KeyBits          int
	Signature        string // algorithm
	CA               bool
	SelfSigned       bool   // subject and issuer are the same
	Error            string // why it could not be read; then only SHA256 is set
}

// Limits of certificates.
const (
	maxChain       = 10
	maxCertificate = 32 << 10
	maxNames       = 256
	maxKnown       = 1024
)

// certificates remembers those that were seen, as a few of them make up nearly all traffic.
type certificates struct {
	known map[[32]byte]*Certificate
}

// read fills out from the body of a certificate message up to TLS 1.2.
func (k *certificates) read(out *Certificates, body []byte, f *app.Flow) {
	out.Chain = out.Chain[:0]
	c := cursor{b: body}
	c = cursor{b: c.take(c.u8()<<16 | int(c.u16()))}
	for len(c.b) > 3 {
		der := c.take(c.u8()<<16 | int(c.u16()))
		if c.bad {
			return
		}
		if len(out.Chain) >= maxChain || len(der) > maxCertificate {
			f.Cut(1)
			continue
		}
		out.Chain = append(out.Chain, k.certificate(der))
	}
}

func (k *certificates) certificate(der []byte) *Certificate {
	sum := sha256.Sum256(der)
	if c := k.known[sum]; c != nil {
		return c
	}
	if k.known == nil || len(k.known) >= maxKnown {
		k.known = make(map[[32]byte]*Certificate)
	}
	c := parse(slices.Clone(der)) // what x509 returns points into it
	c.SHA256 = hex.EncodeToString(sum[:])
	k.known[sum] = c
	return c
}

func parse(der []byte) *Certificate {
	x, err := x509.ParseCertificate(der)
	if err != nil {
		return &Certificate{Error: err.Error()}
	}
	c := &Certificate{
		Subject: clean(x.Subject.String()), Issuer: clean(x.Issuer.String()), Serial: x.SerialNumber.Text(16),
		NotBefore: x.NotBefore, After: x.NotAfter, Signature: x.SignatureAlgorithm.String(), CA: x.IsCA,
		SelfSigned: string(x.RawSubject) == string(x.RawIssuer), KeyType: x.PublicKeyAlgorithm.String(),
	}
	for _, name := range x.DNSNames[:min(len(x.DNSNames), maxNames)] {
		c.Names = append(c.Names, strings.Clone(name))
	}
	for _, ip := range x.IPAddresses[:min(len(x.IPAddresses), maxNames)] {
		c.Names = append(c.Names, ip.String())
	}
	switch key := x.PublicKey.(type) {
	case *rsa.PublicKey:
		c.KeyBits = key.N.BitLen()
	case *ecdsa.PublicKey:
		c.KeyBits = key.Curve.Params().BitSize
	}
	return c
}

// clean bounds a distinguished name and makes it printable text.
func clean(name string) string {
	const most = 1024
	return strings.ToValidUTF8(name[:min(len(name), most)], "\ufffd")
}
