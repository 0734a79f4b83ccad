package tls

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/heap"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/tls") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// detector starts one with a configuration.
func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func inspect(tb testing.TB, d *Detector, s *sink, list ...sdk.TLS) {
	tb.Helper()
	if err := d.Inspect(context.Background(), sdk.Batch{TLS: list}, s); err != nil {
		tb.Fatal(err)
	}
}

// find is what is told first of each matter.
func find(tb testing.TB, d *Detector, list ...sdk.TLS) (rules string) {
	tb.Helper()
	s := &sink{}
	inspect(tb, d, s, list...)
	var out []string
	for _, f := range s.findings {
		out = append(out, string(f.Severity)+" "+f.Rule)
	}
	return strings.Join(out, ", ")
}

// Heartbeats that ask for too much are told, with more confidence when they were answered.
func TestHeartbleed(t *testing.T) {
	asked, bled := ordinary(0), ordinary(1)
	asked.HeartbeatAsked, bled.HeartbeatAsked, bled.HeartbeatAnswered = 16384, 16384, 16387
	for want, r := range map[string]sdk.TLS{"heartbleed 0.9": asked, "heartbleed 0.97": bled, "": ordinary(2)} {
		s, got := &sink{}, ""
		inspect(t, detector(t, "{}"), s, r)
		for _, f := range s.findings {
			got += fmt.Sprint(f.Rule, " ", f.Confidence)
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// ordinary is a browser's handshake with a server outside.
func ordinary(i int) sdk.TLS {
	at := begun.Add(time.Duration(i) * time.Second)
	return sdk.TLS{
		Seen:     sdk.Seen{Flow: uint64(i + 1), Packet: uint64(i + 1), Time: at, Client: inside1(byte(i % 8)), Server: outside1(1), ClientPort: 40000, ServerPort: 443, Proto: sdk.ProtoTCP},
		Protocol: "tls", Version: wireTLS12, Offered: 0x0304, Cipher: 0xc02f, ServerName: "www.example.org", ALPNs: []string{"h2"}, JA3: "579ccef312d18482fc42e2b822ca2430", JA4: "t13d1516h2_8daaf6152771_e5627efa2ab1",
		Chain: []string{"87f2085c32b6a2cc709b365f55873e207a9caa10bffecf2fd16d3cf9d94d390c"}, Subject: "CN=www.example.org", Issuer: "CN=R3,O=Example Trust,C=US",
		NotBefore: begun.Add(-24 * time.Hour), NotAfter: begun.Add(90 * 24 * time.Hour), Names: []string{"www.example.org"}, KeyType: "ECDSA", KeyBits: 256, Signature: "SHA256-RSA",
	}
}

func TestHandshakes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*sdk.TLS)
		want   string
	}{
		"ordinary":                        {func(*sdk.TLS) {}, ""},
		"a tool":                          {func(r *sdk.TLS) { r.Issuer = "C=US,ST=Minnesota,L=Minnetonka,O=Pajfds,OU=Jethpro,CN=P18055077" }, "high tool-certificate"},
		"most of Gozi":                    {func(r *sdk.TLS) { r.Issuer = "CN=*,OU=1,O=1,L=1,ST=1,C=US" }, ""},
		"a tool's name in it":             {func(r *sdk.TLS) { r.Issuer = "CN=AsyncRAT Server Hosting" }, ""},
		"SSL 3.0":                         {func(r *sdk.TLS) { r.Version = wireSSL3 }, "low outdated-server"},
		"TLS 1.1":                         {func(r *sdk.TLS) { r.Version = wireTLS11 }, "info outdated-server"},
		"DTLS 1.0":                        {func(r *sdk.TLS) { r.Protocol, r.Version, r.Offered = "dtls", 0xfeff, 0xfefd }, "info outdated-server"},
		"DTLS 1.2":                        {func(r *sdk.TLS) { r.Protocol, r.Version, r.Offered = "dtls", 0xfefd, 0xfefd }, ""},
		"an old client":                   {func(r *sdk.TLS) { r.Version, r.Offered = wireTLS10, wireTLS11 }, "info outdated-client"},
		"3DES":                            {func(r *sdk.TLS) { r.Cipher = 0x000a }, "info outdated-server"},
		"no encryption":                   {func(r *sdk.TLS) { r.Cipher = 0xc006 }, "low outdated-server"},
		"TLS 1.3":                         {func(r *sdk.TLS) { r.Version, r.Cipher, r.Chain = 0x0304, 0x1301, nil }, ""},
		"RSA of 1024 bits":                {func(r *sdk.TLS) { r.KeyType, r.KeyBits = "RSA", 1024 }, "info outdated-server"},
		"RSA of 512 bits":                 {func(r *sdk.TLS) { r.KeyType, r.KeyBits = "RSA", 512 }, "low outdated-server"},
		"SHA-1":                           {func(r *sdk.TLS) { r.Signature = "ECDSA-SHA1" }, "info outdated-server"},
		"expired":                         {func(r *sdk.TLS) { r.NotAfter = begun.Add(-25 * time.Hour) }, "low certificate-time"},
		"expired today":                   {func(r *sdk.TLS) { r.NotAfter = begun.Add(-time.Hour) }, ""},
		"another name":                    {func(r *sdk.TLS) { r.ServerName = "www.example.com" }, "low certificate-name"},
		"the front of ECH":                {func(r *sdk.TLS) { r.ServerName, r.Encrypted = "front.example.com", true }, ""},
		"many names":                      {func(r *sdk.TLS) { r.ServerName, r.Names = "x.example.com", make([]string, allNames) }, ""},
		"a star":                          {func(r *sdk.TLS) { r.ServerName, r.Names = "a.example.com", []string{"*.EXAMPLE.com"} }, ""},
		"a star too deep":                 {func(r *sdk.TLS) { r.ServerName, r.Names = "a.b.example.com", []string{"*.example.com"} }, "low certificate-name"},
		"no name, a browser":              {func(r *sdk.TLS) { r.ServerName, r.SelfSigned = "", true }, "low unnamed-channel"},
		"no name, nothing":                {func(r *sdk.TLS) { r.ServerName, r.SelfSigned, r.ALPNs, r.ServerPort = "", true, nil, 7707 }, "medium unnamed-channel"},
		"an address as name":              {func(r *sdk.TLS) { r.ServerName, r.SelfSigned, r.ALPNs, r.ServerPort = "203.0.113.1", true, nil, 7707 }, "medium unnamed-channel"},
		"appliance, browser":              {func(r *sdk.TLS) { r.ServerName, r.SelfSigned, r.ServerPort = "", true, 4444 }, "low unnamed-channel"},
		"its client's hello was not seen": {func(r *sdk.TLS) { r.ServerName, r.SelfSigned, r.ALPNs, r.ServerPort, r.JA3 = "", true, nil, 7707, "" }, ""},
		"a call between browsers": {func(r *sdk.TLS) {
			r.Protocol, r.ServerName, r.SelfSigned, r.ALPNs, r.ServerPort, r.Version = "dtls", "", true, nil, 50000, 0xfefd
		}, ""},
		"a thing's server": {func(r *sdk.TLS) { r.SelfSigned, r.ALPNs, r.ServerPort = true, nil, 8883 }, ""},
		"an own server": {func(r *sdk.TLS) {
			r.Server, r.ServerName, r.SelfSigned, r.ALPNs, r.ServerPort = inside1(9), "", true, nil, 7707
		}, ""},
		"a certificate that is damaged": {func(r *sdk.TLS) { r.CertificateDamaged, r.Issuer = true, "CN=AsyncRAT Server" }, ""},
		"an allowed server":             {func(r *sdk.TLS) { r.Server, r.Version = netip.MustParseAddr("198.51.100.7"), wireSSL3 }, ""},
		"an allowed name":               {func(r *sdk.TLS) { r.ServerName, r.Version = "a.Lab.example", wireSSL3 }, ""},
		"not quite an allowed name": {func(r *sdk.TLS) {
			r.ServerName, r.Names, r.Version = "alab.example", []string{"alab.example"}, wireSSL3
		}, "low outdated-server"},
		"a listed client":      {func(r *sdk.TLS) { r.JA4 = "t10d070600_c50f5591e341_1a3805c3aa63" }, "medium known-fingerprint"},
		"a listed certificate": {func(r *sdk.TLS) { r.Chain[0] = strings.Repeat("ab", 32) }, "high known-fingerprint"},
	} {
		d := detector(t, `{"servers": ["198.51.100.0/24"], "names": ["lab.example"], "fingerprints": ["T10d070600_c50f5591e341_1a3805c3aa63", "`+strings.Repeat("AB", 32)+`"]}`)
		r := ordinary(0)
		c.change(&r)
		r.ServerName = strings.ToLower(r.ServerName)
		if have := find(t, d, r); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

func TestCertificatesThatChange(t *testing.T) {
	renew := func(i int, leaf string, self bool) sdk.TLS {
		r := ordinary(i)
		r.Chain, r.SelfSigned = []string{strings.Repeat(leaf, 32)}, self
		return r
	}
	soon := renew(0, "aa", false)
	soon.NotAfter = begun.Add(10 * 24 * time.Hour)
	for name, c := range map[string]struct {
		list []sdk.TLS
		want string
	}{
		"renewed":                {[]sdk.TLS{renew(0, "aa", false), renew(1, "bb", false)}, ""},
		"forged":                 {[]sdk.TLS{renew(0, "aa", false), renew(1, "bb", true)}, "medium certificate-changed"},
		"at its end":             {[]sdk.TLS{soon, renew(1, "bb", true)}, ""},
		"set up anew":            {[]sdk.TLS{renew(0, "aa", true), renew(1, "bb", true)}, "low certificate-changed"},
		"two in turns":           {[]sdk.TLS{renew(0, "aa", true), renew(0, "bb", true), renew(8, "aa", true), renew(8, "bb", true)}, "low certificate-changed"},
		"an authority at last":   {[]sdk.TLS{renew(0, "aa", true), renew(1, "bb", false)}, ""},
		"the same, to all hosts": {[]sdk.TLS{renew(0, "aa", false), renew(1, "aa", false), renew(2, "aa", false)}, ""},
	} {
		if have := find(t, detector(t, "{}"), c.list...); have != c.want {
			t.Errorf("%s: %q, want %q", name, have, c.want)
		}
	}
}

func TestRareClients(t *testing.T) {
	d := detector(t, `{"learn": "1h"}`)
	var list []sdk.TLS
	for i := range 200 { // eight hosts, three and a half hours
		r := ordinary(i * 64)
		r.Client = inside1(byte(i % 8))
		list = append(list, r)
	}
	for i := range 3 * often {
		r := ordinary(200*64 + i)
		r.Client, r.JA4 = inside1(3), "t12d190800_d83cc789557e_7af1ed941c26"
		list = append(list, r)
		r.JA4 = "t13d1517h2_8daaf6152771_b0da82dd1658" // a new version, which others get, too
		r.Client = inside1(byte(i % 8))
		list = append(list, r)
	}
	if have := find(t, d, list...); have != "info rare-client" {
		t.Errorf("%q", have)
	}
	few := detector(t, `{"learn": "1h"}`)
	for i := range list {
		list[i].Client = inside1(1) // a network of one host has nobody to compare with
	}
	if have := find(t, few, list...); have != "" {
		t.Errorf("%q", have)
	}
}

func TestNamesByChance(t *testing.T) {
	for name, want := range map[string]bool{
		"www.v5xqkwzrgp2m.com": true, "www.xlkjwqhzd.com": true, "www.example.com": false, "www.weathernews.com": false, "www.office365.com": false, "www.x1.com": false,
		"v5xqkwzrgp2m.com": false, "www.v5xqkwzrgp2m.net": false, "www.v5xqkwzrgp2mabcdefghijk.com": false, "": false,
	} {
		if have := chance(name, ".com") && unspeakable(name); have != want {
			t.Errorf("%s: %t", name, have)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{Internal: []string{"x"}}, {Servers: []string{"x"}}} {
		if err := (&Detector{cfg: cfg}).Start(t.Context(), nil); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// However much a capture holds, what is remembered of it stays within bounds.
func TestHeapIsBounded(t *testing.T) {
	for name, change := range map[string]func(i int, r *sdk.TLS){
		"servers with certificates": func(i int, r *sdk.TLS) { r.Server = heap.Addr(30, i) },
		"bad servers": func(i int, r *sdk.TLS) {
			r.Server, r.Issuer, r.Cipher = heap.Addr(30, i), "CN=AsyncRAT Server", 0x000a
			r.Subject = fmt.Sprintf("CN=%0900d", i)
		},
		"clients of one server": func(i int, r *sdk.TLS) { r.Client, r.Version = heap.Addr(10, i), wireTLS10 },
		"clients like no other": func(i int, r *sdk.TLS) { r.JA4 = fmt.Sprint("t13d", i) },
		"names by chance": func(i int, r *sdk.TLS) {
			r.Client, r.ALPNs, r.ServerName = heap.Addr(10, i), nil, "www.v5xqkwzrgp2m.com"
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, s, n := detector(t, "{}"), &sink{}, 0
			heap.Check(t, 200_000, func(int, *sdk.Flow) {}, func(b sdk.Batch) error {
				for range b.Flows {
					r := ordinary(n)
					r.Time = begun
					change(n, &r)
					if err := d.Inspect(t.Context(), sdk.Batch{TLS: []sdk.TLS{r}}, s); err != nil {
						return err
					}
					n++
				}
				s.findings = nil
				return nil
			})
			if d.memory.begun == 0 && d.memory.issues.Len() == 0 {
				t.Error("nothing was remembered")
			}
		})
	}
}

func BenchmarkInspect(b *testing.B) {
	var list []sdk.TLS
	for i := range 1024 {
		r := ordinary(i)
		r.Server = heap.Addr(30, i%64)
		list = append(list, r)
	}
	d := detector(b, "{}")
	b.ReportAllocs()
	for b.Loop() {
		_ = d.Inspect(context.Background(), sdk.Batch{TLS: list}, &sink{})
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/handshake")
}
