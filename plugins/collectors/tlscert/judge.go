package tlscert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
)

// maxText bounds what a certificate puts into a label.
const maxText = 512

// judge says all that is known of a certificate, the first of the chain that a server sent.
func judge(out *measure.Samples, chain []*x509.Certificate, name string, roots *x509.CertPool) {
	leaf, now := chain[0], out.Time
	sum := sha256.Sum256(leaf.Raw)
	out.Gauge("tls.certificate.remaining", "s", leaf.NotAfter.Sub(now).Seconds())
	out.Gauge("tls.certificate.info", "1", 1,
		"tls.server.subject", text(leaf.Subject.String()), "tls.server.issuer", text(leaf.Issuer.String()),
		"tls.server.not_before", leaf.NotBefore.UTC().Format(time.RFC3339), "tls.server.not_after", leaf.NotAfter.UTC().Format(time.RFC3339),
		"tls.server.hash.sha256", hex.EncodeToString(sum[:]), "tls.certificate.serial", text(strings.ToUpper(leaf.SerialNumber.Text(16))))
	problem := func(which string, is bool) {
		out.Gauge("tls.certificate.problem", "1", measure.OneIf(is), "tls.certificate.problem", which)
	}
	problem("expired", now.After(leaf.NotAfter))
	problem("not_yet_valid", now.Before(leaf.NotBefore))
	problem("wrong_name", leaf.VerifyHostname(name) != nil)
	problem("self_signed", bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil)
	if roots != nil {
		problem("untrusted", !leads(chain, roots, now))
	}
}

// leads reports whether a chain leads to a trusted authority. That the certificate itself is expired is another problem.
func leads(chain []*x509.Certificate, roots *x509.CertPool, now time.Time) bool {
	leaf, between := chain[0], x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if now.After(leaf.NotAfter) {
		now = leaf.NotAfter
	}
	if now.Before(leaf.NotBefore) {
		now = leaf.NotBefore
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	return err == nil
}

func text(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxText)], "?")
}
