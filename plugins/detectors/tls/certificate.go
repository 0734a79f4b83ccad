package tls

import (
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// handshake is one with what was found out first.
type handshake struct {
	*sdk.TLS
	outside   bool // the server is
	certified bool // the server showed a certificate that can be read
}

func (h *handshake) place() uint32 {
	if h.outside {
		return 0
	}
	return inside
}

// subject is what the certificate says that the server is.
func (h *handshake) subject() string {
	if !h.certified {
		return ""
	}
	return h.Subject
}

// tool is whose default certificate the server shows.
func (h *handshake) tool() string {
	if !h.certified {
		return ""
	}
	return toolOf(h.Issuer)
}

// Signs of a time that is not that of a certificate.
const (
	expired uint32 = 1 << iota
	early
)

func (h *handshake) validity() uint32 {
	switch {
	case h.NotAfter.IsZero() || h.NotBefore.IsZero():
	case h.Time.Sub(h.NotAfter) > skew:
		return expired
	case h.NotBefore.Sub(h.Time) > skew:
		return early
	}
	return 0
}

// allNames is from how many names on a certificate may have more than a record holds.
const allNames = 256

// misnamed reports whether the certificate of a server outside is for other names than the one that was asked for. One that
// vouches for itself proves no name anyway.
func (h *handshake) misnamed() bool {
	if h.ServerName == "" || h.Encrypted || !h.outside || h.SelfSigned || len(h.Names) >= allNames {
		return false
	}
	for _, name := range h.Names {
		if fits(name, h.ServerName) {
			return false
		}
	}
	return !fits(commonName(h.Subject), h.ServerName)
}

func commonName(subject string) string {
	for part := range strings.SplitSeq(subject, ",") {
		if name, found := strings.CutPrefix(part, "CN="); found {
			return name
		}
	}
	return ""
}

// fits reports whether a name on a certificate, perhaps with a star in front, is that of a server (RFC 6125).
func fits(name, server string) bool {
	server = strings.TrimSuffix(server, ".")
	if rest, found := strings.CutPrefix(name, "*."); found {
		_, parent, deeper := strings.Cut(server, ".")
		return deeper && strings.EqualFold(rest, parent)
	}
	return strings.EqualFold(name, server)
}

// Signs of a connection that hides whom it is with.
const (
	nameless uint32 = 1 << iota // the client asks for no name
	selfSigned
	littleSaid  // by the subject
	oddPort     // nothing that is usually encrypted is there
	noProtocols // are offered (ALPN), as browsers and their kin do
	counted     // the signs are worth telling
	strong      // and more than that
)

// What each sign counts, in hundredths, and from how many of them it is told, and with medium severity.
var weights = [...]int{20, 25, 20, 15, 10}

const (
	worthTelling = 45
	worthAlarm   = 65
)

// usual are the ports where encryption is to be expected: the web and its panels, mail, directories, chat, remote desktops, things.
var usual = map[uint16]struct{}{
	21: {}, 25: {}, 110: {}, 143: {}, 389: {}, 443: {}, 465: {}, 563: {}, 587: {}, 636: {}, 853: {}, 989: {}, 990: {}, 992: {}, 993: {}, 994: {}, 995: {},
	1194: {}, 1433: {}, 2083: {}, 2087: {}, 2096: {}, 3269: {}, 3306: {}, 3389: {}, 4190: {}, 5061: {}, 5222: {}, 5223: {}, 5228: {}, 5269: {}, 5432: {}, 5671: {},
	6514: {}, 6697: {}, 8443: {}, 8883: {}, 9443: {}, 10443: {},
}

// unnamed are the signs of a connection to a server outside of which nobody is told who it is. It takes the client's hello and the
// server's answer. Calls between browsers (DTLS) always look so.
func (h *handshake) unnamed() (signs uint32) {
	if !h.outside || h.Protocol != "tls" || h.Encrypted || h.JA3 == "" || h.Version == 0 || h.Damaged {
		return 0
	}
	if h.ServerName == "" || isAddress(h.ServerName) {
		signs |= nameless
	}
	if h.certified && h.SelfSigned {
		signs |= selfSigned
		if saysLittle(h.Subject) && len(h.Names) == 0 {
			signs |= littleSaid
		}
	}
	if signs == 0 {
		return 0
	}
	if _, found := usual[h.ServerPort]; !found {
		signs |= oddPort
	}
	if len(h.ALPNs) == 0 {
		signs |= noProtocols
	}
	sum := weigh(signs)
	if sum >= worthTelling {
		signs |= counted
	}
	if sum >= worthAlarm {
		signs |= strong
	}
	return signs
}

// isAddress reports whether a name is an address. No other name ends in a digit or has a colon.
func isAddress(name string) bool {
	if c := name[len(name)-1]; (c < '0' || c > '9') && strings.IndexByte(name, ':') < 0 {
		return false
	}
	_, err := netip.ParseAddr(name)
	return err == nil
}

func weigh(signs uint32) (sum int) {
	for i, w := range weights {
		if signs&(1<<i) != 0 {
			sum += w
		}
	}
	return sum
}
