package encrypted

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
)

// resolvers are public services that answer questions over HTTPS, by their addresses, which serve nothing else (pages of the
// operators, November 2026), and by their names.
var resolvers = addresses(
	"1.1.1.1", "1.0.0.1", "1.1.1.2", "1.0.0.2", "1.1.1.3", "1.0.0.3", "2606:4700:4700::1111", "2606:4700:4700::1001", // Cloudflare
	"8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844", // Google
	"9.9.9.9", "9.9.9.10", "9.9.9.11", "149.112.112.112", "149.112.112.10", "149.112.112.11", "2620:fe::fe", "2620:fe::9", // Quad9
	"208.67.222.222", "208.67.220.220", "208.67.222.123", "208.67.220.123", "146.112.41.2", "2620:119:35::35", // OpenDNS
	"94.140.14.14", "94.140.15.15", "94.140.14.140", "94.140.14.141", "2a10:50c0::ad1:ff", // AdGuard
	"185.228.168.9", "185.228.168.10", "185.228.168.168", "185.228.169.9", "185.228.169.168", // CleanBrowsing
	"45.90.28.0", "45.90.30.0", "76.76.2.0", "76.76.10.0", "194.242.2.2", "194.242.2.3", // NextDNS, ControlD, Mullvad
	"223.5.5.5", "223.6.6.6", "1.12.12.12", "120.53.53.53", "185.222.222.222", "45.11.45.11", "77.88.8.8", "77.88.8.1", // AliDNS, DNSPod, DNS.SB, Yandex
)

var resolverNames = []string{
	"cloudflare-dns.com", "one.one.one.one", "cloudflare-gateway.com", "dns.google", "dns.google.com", "dns64.dns.google", "quad9.net", "doh.opendns.com", "doh.umbrella.com",
	"adguard-dns.com", "adguard.com", "cleanbrowsing.org", "nextdns.io", "controld.com", "dns.mullvad.net", "dns.alidns.com", "doh.pub", "dot.pub", "dns.sb", "dns0.eu",
	"doh.libredns.gr", "dns.digitale-gesellschaft.ch", "doh.applied-privacy.net", "common.dot.dns.yandex.net", "doh.xfinity.com", "doh.cox.net", "dns.switch.ch", "dns.njal.la",
}

func addresses(texts ...string) map[bare.Addr]struct{} {
	out := make(map[bare.Addr]struct{}, len(texts))
	for _, text := range texts {
		out[bare.Of(netip.MustParseAddr(text))] = struct{}{}
	}
	return out
}

func (d *Detector) isResolver(server netip.Addr, name string) bool {
	if name != "" && !isAddress(name) {
		for len(name) > 0 {
			if slices.Contains(resolverNames, name) {
				return true
			}
			_, rest, deeper := strings.Cut(name, ".")
			if !deeper {
				break
			}
			name = rest
		}
		return false // the address may serve other names, too
	}
	_, known := resolvers[bare.Of(server)]
	return known || contain(d.resolvers, server)
}

// Signs that questions over HTTPS are not those of a browser.
const (
	unnamedResolver uint32 = 1 << iota // the program does not say whom it calls
	restless                           // it goes on and on without a pause
	muchAsked                          // more than lookups are
	longQuestions                      // of the length of full names
	moreAsked                          // more goes there than comes back
)

var askedWords = []string{"it names no server", "it never pauses", "more passes than lookups need", "the questions are long", "more is asked than answered"}

const (
	// askedFor is for how long the questions of a host to a resolver count together.
	askedFor = int64(time.Hour)
	// much is what lookups do not need within the hour: two thousand of them take 300 to 500 bytes each, there and back.
	much = 1 << 20
	// greeting is what a hello and the end of the handshake take, which are no questions.
	greeting = 700
	// manyPackets are from how many on, in one direction, means say something.
	manyPackets = 100
	// longPacket is the mean of what a question with a name of full length takes, the acknowledgements between them counted: its 255
	// characters in base 64, within a frame and a record. A browser's take 60 to 100.
	longPacket = 180
	// pause is how long programs that poll wait at most, and browsers wait far longer now and then.
	pause = 12.0
	// lasting is how long a connection without a pause is none of a page that loads.
	lasting = 5 * time.Minute
)

// questions are what a host asked a resolver within the hour.
type questions struct {
	key            uint64
	begin          int64
	sent, received uint64
	packets        uint64 // there
	signs          uint32
}

// asked adds a connection to a resolver, and tells its signs when they are worth telling.
func (m *memory) asked(c *connection) uint32 {
	key := stir(hashAddr(c.client)) ^ hashAddr(c.server)
	at := c.Start.UnixNano()
	q, known := m.questions.Get(key)
	if !known {
		if old, full := m.questions.Crowded(); full {
			m.questions.Forget(old.key)
		}
		q = &questions{key: key, begin: at}
		m.questions.Put(key, q)
	}
	if at-q.begin > askedFor {
		*q = questions{key: key, begin: at}
	}
	q.sent += c.FwdPayload - min(c.FwdPayload, greeting)
	q.received += c.RevPayload - min(c.RevPayload, 4*greeting)
	q.packets += c.FwdPackets
	if c.signs&nameless != 0 {
		q.signs |= unnamedResolver
	}
	// A connection that lasts for hours may carry the lookups of hours.
	hours := uint64(max(1, (c.End.UnixNano()-q.begin)/askedFor))
	if c.Duration() >= lasting && c.IATMax <= pause {
		q.signs |= restless
	}
	if q.sent+q.received >= much*hours {
		q.signs |= muchAsked
	}
	if q.packets >= manyPackets && q.sent/q.packets >= longPacket {
		q.signs |= longQuestions
	}
	if q.packets >= manyPackets && q.sent >= much/16 && q.sent > q.received {
		q.signs |= moreAsked
	}
	if q.signs&unnamedResolver == 0 && q.signs&(q.signs-1) == 0 {
		return 0 // a single sign of shape is what a busy browser may have
	}
	return q.signs
}
