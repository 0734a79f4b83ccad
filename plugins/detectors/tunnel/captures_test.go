package tunnel

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnscase"
)

const (
	ms = time.Millisecond
	s  = time.Second
	m  = time.Minute
)

var (
	client   = netip.MustParseAddr("10.0.0.66")
	other    = netip.MustParseAddr("10.0.0.7")
	resolver = netip.MustParseAddr("10.0.0.1")
	outside  = netip.MustParseAddr("198.51.100.77")

	lower32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
)

// The captures of the cases are made here, so that a case can be read in its source.
func TestCapturesAreFresh(t *testing.T) {
	dnscase.Check(t, map[string]func(*dnscase.Capture){
		"null-tunnel":     nullTunnel,
		"mixed-tunnel":    mixedTunnel,
		"no-domain":       noDomain,
		"commands":        commands,
		"exfiltration":    exfiltration,
		"slow":            slow,
		"icmp-tunnel":     icmpTunnel,
		"icmp-one-way":    icmpOneWay,
		"quiet-lookups":   quietLookups,
		"quiet-browsing":  quietBrowsing,
		"quiet-mail":      quietMail,
		"quiet-failures":  quietFailures,
		"quiet-pings":     quietPings,
		"quiet-in-config": exfiltration,
	})
}

func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func data(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// cut divides a text into labels.
func cut(text string, n int) string {
	var labels []string
	for len(text) > n {
		labels, text = append(labels, text[:n]), text[n:]
	}
	return strings.Join(append(labels, text), ".")
}

func address(r *rand.Rand) netip.Addr {
	return netip.AddrFrom4([4]byte{203, 0, 113, byte(r.Uint32())})
}

// nullTunnel carries a session in NULL questions and answers, among what others ask.
func nullTunnel(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 20)
	for i := range 150 {
		name := cut(lower32.EncodeToString(data(r, 3+r.IntN(90))), 57) + ".t.example.org"
		c.Ask(time.Duration(i)*200*ms, dnscase.Exchange{Client: client, Server: resolver, Name: name, Type: dnscase.NULL, Port: 45000,
			Answers: []dnscase.Record{{Type: dnscase.NULL, Data: data(r, 2+r.IntN(300))}}})
	}
}

// mixedTunnel idles: short names, now as TXT, now as CNAME or MX.
func mixedTunnel(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 20)
	for i := range 400 {
		name := func() string { return hex.EncodeToString(data(r, 9+r.IntN(12))) + ".d.example.org" }
		e := dnscase.Exchange{Client: client, Server: resolver, Name: name()}
		switch i % 3 {
		case 0:
			e.Type, e.Answers = dnscase.TXT, []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text(hex.EncodeToString(data(r, 9)))}}
		case 1:
			e.Type, e.Answers = dnscase.CNAME, []dnscase.Record{{Type: dnscase.CNAME, Data: dnscase.Name(name())}}
		case 2:
			e.Type, e.Answers = dnscase.MX, []dnscase.Record{{Type: dnscase.MX, Data: append([]byte{0, 10}, dnscase.Name(name())...)}}
		}
		c.Ask(time.Duration(i)*s, e)
	}
}

// noDomain asks its own server, so that names need no domain.
func noDomain(c *dnscase.Capture) {
	r := random()
	for i := range 100 {
		c.Ask(time.Duration(i)*s, dnscase.Exchange{Client: client, Server: outside, Type: dnscase.TXT,
			Name:    "cat." + cut(hex.EncodeToString(data(r, 9+r.IntN(60))), 60),
			Answers: []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text(hex.EncodeToString(data(r, 9+r.IntN(60))))}}})
	}
}

// commands fetches a script in the answers to short names, piece by piece.
func commands(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 20)
	for i := range 30 {
		c.Ask(time.Duration(i)*300*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.TXT, Name: fmt.Sprintf("s%d.get.example.org", i),
			Answers: []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text(lower32.EncodeToString(data(r, 120)))}}})
	}
}

// exfiltration sends a file in names that nobody answers well.
func exfiltration(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 20)
	for i := range 120 {
		c.Ask(time.Duration(i)*100*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Code: dnscase.NXDomain,
			Name: fmt.Sprintf("%s.%d.example.org", hex.EncodeToString(data(r, 30)), i)})
	}
}

// slow sends 42 bytes a minute: 0.7 bytes a second.
func slow(c *dnscase.Capture) {
	r := random()
	browse(c, r, other, 40)
	for i := range 180 {
		c.Ask(time.Duration(i)*m, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(outside)},
			Name: cut(lower32.EncodeToString(data(r, 42)), 34) + ".example.org"})
	}
}

// icmpTunnel carries packets in pings, whose answers hold others.
func icmpTunnel(c *dnscase.Capture) {
	r := random()
	for i := range 80 {
		at := time.Duration(i) * 300 * ms
		c.Ping(at, client, outside, false, uint16(i), data(r, 60+r.IntN(400)))
		for j := range i % 3 { // the server answers more than it was asked, or less
			c.Ping(at+time.Duration(20+j)*ms, outside, client, true, uint16(i), data(r, 60+r.IntN(400)))
		}
	}
	quietPings(c)
}

// icmpOneWay sends a file in pings that an honest host answers.
func icmpOneWay(c *dnscase.Capture) {
	r := random()
	for i := range 150 {
		content := data(r, 120)
		c.Ping(time.Duration(i)*100*ms, client, outside, false, uint16(i), content)
		c.Ping(time.Duration(i)*100*ms+ms, outside, client, true, uint16(i), content)
	}
}

// browse asks for what people ask for, as A and AAAA.
func browse(c *dnscase.Capture, r *rand.Rand, from netip.Addr, sites int) {
	words := []string{"static", "images", "api", "login", "shop", "news", "mail", "cdn", "video", "assets", "telemetry", "accounts"}
	for i := range sites {
		name := fmt.Sprintf("%s-%s.%s.example.net", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))])
		at := time.Duration(i)*2*s + 7*ms
		lookUp(c, at, from, name, address(r))
	}
}

func lookUp(c *dnscase.Capture, at time.Duration, from netip.Addr, name string, is netip.Addr) {
	c.Ask(at, dnscase.Exchange{Client: from, Server: resolver, Name: name, Type: dnscase.A, Answers: []dnscase.Record{dnscase.Address(is)}})
	c.Ask(at+ms, dnscase.Exchange{Client: from, Server: resolver, Name: name, Type: dnscase.AAAA})
}

// quietLookups is services that are asked by address, name or hash.
func quietLookups(c *dnscase.Capture) {
	r := random()
	gateway := other
	listed := []dnscase.Record{dnscase.Address(netip.MustParseAddr("127.0.0.2"))}
	for i := range 200 {
		at := time.Duration(i) * 500 * ms
		quad := fmt.Sprintf("%d.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(256))
		e := dnscase.Exchange{Client: gateway, Server: resolver, Type: dnscase.A, Name: quad + ".bl.example.com", Code: dnscase.NXDomain}
		if i%4 == 0 {
			e.Code, e.Answers = 0, listed
		}
		c.Ask(at, e)
		if i%4 == 0 {
			c.Ask(at+ms, dnscase.Exchange{Client: gateway, Server: resolver, Type: dnscase.TXT, Name: quad + ".bl.example.com",
				Answers: []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text("Listed, see https://bl.example.com/query/ip/" + quad)}}})
		}
		c.Ask(at+2*ms, dnscase.Exchange{Client: gateway, Server: resolver, Type: dnscase.PTR, Name: quad + ".in-addr.arpa",
			Answers: []dnscase.Record{{Type: dnscase.PTR, Data: dnscase.Name("host-" + strings.ReplaceAll(quad, ".", "-") + ".dyn.example.net")}}})
		// A virus scanner that nobody has listed asks by MD5 and hears a verdict.
		c.Ask(at+3*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Answers: listed,
			Name: "4." + lower32.EncodeToString(data(r, 16)) + ".verdict.example.com"})
		// One that is in the list answers with text.
		c.Ask(at+4*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.TXT, Name: hex.EncodeToString(data(r, 16)) + ".malware.hash.cymru.com",
			Answers: []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text("1277221946 79")}}})
	}
	nibbles := strings.Repeat("1.a.0.", 10) + "8.2"
	for i := range 60 {
		c.Ask(time.Duration(i)*s, dnscase.Exchange{Client: gateway, Server: resolver, Type: dnscase.A, Name: fmt.Sprintf("%x.%x.%s.bl6.example.com", i%16, i/16, nibbles[4:]), Code: dnscase.NXDomain})
	}
}

// quietBrowsing is long and random names that people's programs ask for.
func quietBrowsing(c *dnscase.Capture) {
	r := random()
	browse(c, r, client, 150)
	for i := range 80 {
		at := time.Duration(i) * 30 * s
		lookUp(c, at, client, fmt.Sprintf("rr%d---sn-%s.video-example.com", 1+r.IntN(8), lower32.EncodeToString(data(r, 5))), address(r))
		lookUp(c, at+s, client, fmt.Sprintf("ec2-203-0-113-%d.eu-central-1.compute.amazonaws.com", r.IntN(256)), address(r))
		lookUp(c, at+2*s, client, fmt.Sprintf("d%s.cloudfront.net", lower32.EncodeToString(data(r, 8))), address(r))
		lookUp(c, at+3*s, client, hex.EncodeToString(data(r, 16))+".visit-example.com", address(r))
		u := hex.EncodeToString(data(r, 16))
		lookUp(c, at+4*s, client, fmt.Sprintf("%s-%s-%s-%s-%s.probe-example.com", u[:8], u[8:12], u[12:16], u[16:20], u[20:]), address(r))
		lookUp(c, at+5*s, client, fmt.Sprintf("web-frontend-%s-%s.shop.svc.cluster.local", hex.EncodeToString(data(r, 2)), lower32.EncodeToString(data(r, 3))), address(r))
	}
	// The site's own suffix is tried first, so every name fails below it once.
	words := strings.Fields("mail news weather football holiday garden kitchen library museum station airport hospital university chocolate bicycle insurance recipes")
	for i := range 200 {
		c.Ask(time.Duration(i)*5*s, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Code: dnscase.NXDomain,
			Name: fmt.Sprintf("www.%s-%s%s.com.corp.example.org", words[r.IntN(len(words))], words[r.IntN(len(words))], words[r.IntN(len(words))])})
	}
	// A resolver that spells names at random asks for the same few again and again.
	for i := range 300 {
		name := []byte("images-and-other-static-content.example.net")
		for j := range name {
			if r.IntN(2) == 0 && 'a' <= name[j] && name[j] <= 'z' {
				name[j] -= 'a' - 'A'
			}
		}
		c.Ask(time.Duration(i)*s, dnscase.Exchange{Client: resolver, Server: outside, Type: dnscase.A, Name: string(name), Resolver: true, Answers: []dnscase.Record{dnscase.Address(outside)}})
	}
}

// quietMail is what a mail server asks of the domains that write to it.
func quietMail(c *dnscase.Capture) {
	r := random()
	text := func(at time.Duration, name, says string) {
		c.Ask(at, dnscase.Exchange{Client: other, Server: resolver, Type: dnscase.TXT, Name: name, Answers: []dnscase.Record{{Type: dnscase.TXT, Data: dnscase.Text(says)}}})
	}
	for i := range 120 {
		at := time.Duration(i) * 10 * s
		key := "v=DKIM1; k=rsa; p=" + lower32.EncodeToString(data(r, 160))
		text(at, lower32.EncodeToString(data(r, 20))+"._domainkey.mailer.example.com", key)
		text(at+ms, fmt.Sprintf("customer%d.mailer.example.com", i), "v=spf1 include:_spf.example.com ip4:203.0.113.0/24 ip4:198.51.100.0/24 ~all")
		text(at+2*ms, fmt.Sprintf("_dmarc.customer%d.mailer.example.com", i), "v=DMARC1; p=reject; rua=mailto:reports@example.com")
		c.Ask(at+3*ms, dnscase.Exchange{Client: other, Server: resolver, Type: dnscase.MX, Name: fmt.Sprintf("customer%d.mailer.example.com", i%40),
			Answers: []dnscase.Record{{Type: dnscase.MX, Data: append([]byte{0, 10}, dnscase.Name(fmt.Sprintf("customer%d-com.mail.protection.example.com", i%40))...)}}})
		c.Ask(at+4*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.SRV, Name: fmt.Sprintf("_ldap._tcp.site%d._sites.dc._msdcs.corp.example.org", i),
			Answers: []dnscase.Record{{Type: dnscase.SRV, Data: append([]byte{0, 0, 0, 100, 1, 133}, dnscase.Name("dc1.corp.example.org")...)}}})
	}
}

// quietFailures is a flood of names that do not exist, and a browser that asks for three of them.
func quietFailures(c *dnscase.Capture) {
	r := random()
	for i := range 600 {
		c.Ask(time.Duration(i)*10*ms, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Code: dnscase.NXDomain,
			Name: lower32.EncodeToString(data(r, 5+r.IntN(6))) + ".www.example.org"})
	}
	for range 3 {
		c.Ask(s, dnscase.Exchange{Client: client, Server: resolver, Type: dnscase.A, Code: dnscase.NXDomain, Name: lower32.EncodeToString(data(r, 7))})
	}
}

// quietPings is pings as programs send them: with the time at the beginning, of growing size, with letters.
func quietPings(c *dnscase.Capture) {
	r := random()
	send := func(i int, from netip.Addr, content []byte) {
		at := time.Duration(i) * s
		c.Ping(at, from, resolver, false, uint16(i), content)
		if i%7 != 0 {
			c.Ping(at+ms, resolver, from, true, uint16(i), content)
		}
	}
	for i := range 120 {
		content := data(r, 16)
		for j := byte(16); j < 56; j++ {
			content = append(content, j)
		}
		send(i, other, content)
		grown := make([]byte, 56+6*i)
		for j := range grown {
			grown[j] = byte(j)
		}
		send(i, netip.MustParseAddr("10.0.0.8"), grown)
		send(i, netip.MustParseAddr("10.0.0.9"), []byte("abcdefghijklmnopqrstuvwabcdefghi"))
	}
}
