package tls

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"math/big"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){
		"tool": tools1, "unnamed": unnamed, "tor": tor, "changed": changed, "outdated": old, "misnamed-expired": misnamed, "listed": tools1, "heartbleed": bleeding, "quiet": quiet,
	})
}

// begun is when the captures begin.
var begun = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

func inside1(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func outside1(last byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, last}) }

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed([]byte(strings.Repeat(string(rune('a'+seed)), ed25519.SeedSize)))
}

// paper is what a certificate says.
type paper struct {
	subject, issuer pkix.Name // without an issuer it signs itself
	names           []string
	since, until    time.Duration // of when the captures begin
	key             byte
	bits            uint // of a key of RSA
}

func (p paper) der() string {
	issuer := p.issuer
	if issuer.String() == "" {
		issuer = p.subject
	}
	if p.until == 0 {
		p.since, p.until = -100*24*time.Hour, 200*24*time.Hour
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(int64(p.key) + 1), Subject: p.subject, DNSNames: p.names, NotBefore: begun.Add(p.since), NotAfter: begun.Add(p.until)}
	var public any = key(p.key).Public()
	if p.bits > 0 {
		n := new(big.Int).Lsh(big.NewInt(1), p.bits-1)
		public = &rsa.PublicKey{N: n.Add(n, big.NewInt(7)), E: 65537}
	}
	der, err := x509.CreateCertificate(nil, c, &x509.Certificate{Subject: issuer}, public, key(20))
	if err != nil {
		panic(err)
	}
	return string(der)
}

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func u24(n int) string { return string([]byte{byte(n >> 16)}) + u16(n&0xffff) }

func short(s string) string { return u16(len(s)) + s }

// record is a handshake message in a record.
func record(kind byte, body string) string {
	return "\x16\x03\x01" + short(string([]byte{kind})+u24(len(body))+body)
}

// hello is a client's.
type hello struct {
	name      string
	protocols []string
	version   int
	ciphers   string
}

func (h hello) text() string {
	if h.version == 0 {
		h.version = wireTLS12
	}
	if h.ciphers == "" {
		h.ciphers = "\xc0\x2f\xc0\x30\x00\x2f"
	}
	ext := "\x00\x0a" + short(short("\x00\x1d\x00\x17")) + "\x00\x0b" + short("\x01\x00")
	if h.name != "" {
		ext += "\x00\x00" + short(short("\x00"+short(h.name)))
	}
	list := ""
	for _, p := range h.protocols {
		list += string([]byte{byte(len(p))}) + p
	}
	if list != "" {
		ext += "\x00\x10" + short(short(list))
	}
	return record(1, u16(h.version)+strings.Repeat("r", 32)+"\x00"+short(h.ciphers)+"\x01\x00"+short(ext))
}

// answer is a server's, with its certificate.
func answer(version, cipher int, certificate string) string {
	list := u24(len(certificate)) + certificate
	return record(2, u16(version)+strings.Repeat("s", 32)+"\x00"+u16(cipher)+"\x00") + record(11, u24(len(list))+list) + record(14, "")
}

const sealed = "\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x10never to be read"

func connect(w *talk.Wire, at time.Duration, from, to netip.Addr, port uint16, h hello, version, cipher int, p paper) {
	w.TCP(at, from, to, port, talk.Client(h.text()), talk.Server(answer(version, cipher, p.der())), talk.Client(sealed), talk.Server(sealed))
}

func modern(w *talk.Wire, at time.Duration, from, to netip.Addr, port uint16, h hello, p paper) {
	connect(w, at, from, to, port, h, wireTLS12, 0xc02f, p)
}

var (
	authority = pkix.Name{CommonName: "Example Authority R3", Organization: []string{"Example Trust"}, Country: []string{"US"}}
	browser   = []string{"h2", "http/1.1"}
)

func tools1(w *talk.Wire) {
	for i, p := range []paper{
		{subject: pkix.Name{CommonName: "AsyncRAT Server"}},
		{subject: pkix.Name{CommonName: "Client"}, issuer: pkix.Name{CommonName: "My Server", OrganizationalUnit: []string{"qwqdanchun"}, Organization: []string{"DcRat By qwqdanchun"}, Country: []string{"CN"}}},
		{subject: pkix.Name{CommonName: "*", OrganizationalUnit: []string{"1"}, Organization: []string{"1"}, Locality: []string{"1"}, Province: []string{"1"}, Country: []string{"XX"}}},
	} {
		for j := range 3 {
			modern(w, time.Duration(i*60+j)*time.Second, inside1(5), outside1(byte(10+i)), 443, hello{name: "www.example.com"}, p)
		}
	}
	// A team's server within the network, met by a browser.
	modern(w, 5*time.Minute, inside1(6), inside1(66), 443, hello{protocols: browser},
		paper{subject: pkix.Name{CommonName: "Major Cobalt Strike", OrganizationalUnit: []string{"AdvancedPenTesting"}, Organization: []string{"cobaltstrike"}}})
}

var widgits = pkix.Name{Country: []string{"AU"}, Province: []string{"Some-State"}, Organization: []string{"Internet Widgits Pty Ltd"}}

func unnamed(w *talk.Wire) {
	for i := range 4 {
		modern(w, time.Duration(i)*time.Minute, inside1(5), outside1(20), 449, hello{}, paper{subject: widgits})
	}
	modern(w, 10*time.Minute, inside1(5), outside1(21), 443, hello{}, paper{subject: widgits})                                        // the port is usual
	modern(w, 11*time.Minute, inside1(7), outside1(22), 443, hello{}, paper{subject: pkix.Name{CommonName: "device.example"}})        // low
	modern(w, 12*time.Minute, inside1(7), outside1(23), 8444, hello{}, paper{subject: pkix.Name{CommonName: "x"}, issuer: authority}) // low, an authority is there
}

func tor(w *talk.Wire) {
	modern(w, 0, inside1(5), outside1(30), 9001, hello{name: "www.kq3vhx5bzt.com"}, paper{subject: pkix.Name{CommonName: "www.zx4lmq7rtw.net"}, issuer: pkix.Name{CommonName: "www.bq2dkfrw.com"}})
	for i, name := range []string{"www.v5xqkwzrgp2m.com", "www.tq7bdhgsnl.com", "www.xlkjwq4hzd.com", "www.pwrkzzb3qd.com"} {
		w.TCP(time.Duration(i+1)*time.Minute, inside1(6), outside1(byte(31+i)), 443, talk.Client(hello{name: name}.text()),
			talk.Server(record(2, u16(wireTLS12)+strings.Repeat("s", 32)+"\x00\x13\x01\x00"+short("\x00\x2b"+short("\x03\x04")))+"\x17\x03\x03"+short("encrypted")))
	}
}

func changed(w *talk.Wire) {
	site := paper{subject: pkix.Name{CommonName: "mail.example.org"}, issuer: authority, names: []string{"mail.example.org"}}
	h := hello{name: "mail.example.org", protocols: browser}
	modern(w, 0, inside1(5), outside1(40), 443, h, site)
	forged := site
	forged.issuer, forged.key = pkix.Name{}, 3
	modern(w, time.Hour, inside1(5), outside1(40), 443, h, forged)
	box := paper{subject: pkix.Name{CommonName: "router"}}
	modern(w, 0, inside1(5), inside1(1), 443, hello{protocols: browser}, box)
	box.key = 4
	modern(w, time.Hour, inside1(6), inside1(1), 443, hello{protocols: browser}, box)
}

func old(w *talk.Wire) {
	site := paper{subject: pkix.Name{CommonName: "old.example.org"}, issuer: authority, names: []string{"old.example.org"}, bits: 1024}
	h := hello{name: "old.example.org", protocols: browser}
	for i := range byte(3) {
		connect(w, time.Duration(i)*time.Minute, inside1(5+i), outside1(50), 443, h, wireTLS10, 0x0005, site)
	}
	// A client that knows no better.
	h.version, h.ciphers = wireTLS10, "\x00\x0a\x00\x05"
	connect(w, 5*time.Minute, inside1(9), outside1(51), 443, h, wireTLS10, 0x000a, paper{subject: pkix.Name{CommonName: "old.example.org"}, issuer: authority})
	connect(w, 6*time.Minute, inside1(9), outside1(52), 443, h, wireTLS10, 0x0005, paper{subject: pkix.Name{CommonName: "old.example.org"}, issuer: authority})
	connect(w, 7*time.Minute, inside1(5), inside1(80), 443, hello{}, wireSSL3, 0x0003, paper{subject: pkix.Name{CommonName: "printer"}})
}

func misnamed(w *talk.Wire) {
	h := hello{name: "shop.example.org", protocols: browser}
	modern(w, 0, inside1(5), outside1(60), 443, h, paper{subject: pkix.Name{CommonName: "other.example.net"}, issuer: authority, names: []string{"other.example.net"}})
	modern(w, time.Minute, inside1(5), outside1(61), 443, h, paper{subject: pkix.Name{CommonName: "shop.example.org"}, issuer: authority, since: -400 * 24 * time.Hour, until: -20 * 24 * time.Hour})
	modern(w, 2*time.Minute, inside1(5), inside1(70), 443, hello{protocols: browser}, paper{subject: pkix.Name{CommonName: "switch"}, since: 20 * 24 * time.Hour, until: 400 * 24 * time.Hour})
}

// beat is a heartbeat that says how long its payload is.
func beat(kind byte, length int, payload string) string {
	return "\x18\x03\x03" + short(string([]byte{kind})+u16(length)+payload)
}

func bleeding(w *talk.Wire) {
	site := paper{subject: pkix.Name{CommonName: "www.example.org"}, issuer: authority, names: []string{"www.example.org"}}
	for i, said := range [][]talk.Said{
		{talk.Client(beat(1, 0x4000, "")), talk.Server(beat(2, 0x4000, strings.Repeat("memory", 700)))}, // of a server that was not mended
		{talk.Client(beat(1, 0x4000, ""))},
		{talk.Client(beat(1, 4, "ping"+strings.Repeat("p", 16))), talk.Server(beat(2, 4, "ping"+strings.Repeat("p", 16)))}, // as it should be
	} {
		hellos := []talk.Said{talk.Client(hello{name: "www.example.org", protocols: browser}.text()), talk.Server(answer(wireTLS12, 0xc02f, site.der()))}
		w.TCP(time.Duration(i)*time.Minute, outside1(90), inside1(byte(80+i)), 443, append(hellos, said...)...)
	}
}

// quiet is what looks like it and is none.
func quiet(w *talk.Wire) {
	site := paper{subject: pkix.Name{CommonName: "www.example.org"}, issuer: authority, names: []string{"*.example.org", "example.org"}}
	modern(w, 0, inside1(5), outside1(70), 443, hello{name: "shop.example.org", protocols: browser}, site)
	modern(w, time.Second, inside1(5), outside1(70), 443, hello{protocols: browser}, site) // an old program that asks for no name
	renewed := site
	renewed.key = 5
	modern(w, time.Minute, inside1(5), outside1(70), 443, hello{name: "shop.example.org", protocols: browser}, renewed)
	// Things and appliances of one's own vouch for themselves, on whatever port.
	modern(w, 2*time.Minute, inside1(8), inside1(90), 4433, hello{}, paper{subject: widgits})
	modern(w, 3*time.Minute, inside1(8), inside1(91), 8443, hello{protocols: browser}, paper{subject: pkix.Name{CommonName: "nas"}})
	// A thing and its maker's server, which has a name.
	modern(w, 4*time.Minute, inside1(9), outside1(71), 8883, hello{name: "mqtt.example.com"}, paper{subject: pkix.Name{CommonName: "mqtt.example.com"}})
	// Three names that people made.
	for i, name := range []string{"www.example.com", "www.weathernews.com", "www.lightsport.com"} {
		p := paper{subject: pkix.Name{CommonName: name}, issuer: authority, names: []string{name}}
		modern(w, time.Duration(5+i)*time.Minute, inside1(9), outside1(byte(72+i)), 443, hello{name: name}, p)
	}
}
