package sigma

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// value is one of a record: a text and where it also begins, a list of texts, a number or an address.
type value struct {
	text   string
	from   int // 0 when it begins at its beginning only
	list   []string
	number int64
	known  bool // the number
	addr   netip.Addr
}

// record is what is evaluated. Of its values those of its kind are valid.
type record struct {
	values [columns]value
	what   string // a word on it for people,
	rest   string // and what goes on behind it
	flow   uint64
	proto  uint8
	room   []byte
}

func (r *record) text(c column, s string)      { r.values[c] = value{text: s} }
func (r *record) list(c column, list []string) { r.values[c] = value{list: list} }
func (r *record) number(c column, n int64, known bool) {
	r.values[c] = value{number: n, known: known}
}

func (r *record) hosts(src, dst netip.Addr, from, to uint16) {
	r.values[srcIP], r.values[dstIP] = value{addr: src}, value{addr: dst}
	r.number(srcPort, int64(from), from != 0)
	r.number(dstPort, int64(to), to != 0)
}

func (r *record) seen(s *sdk.Seen) {
	r.hosts(s.Client, s.Server, s.ClientPort, s.ServerPort)
	r.flow, r.proto = s.Flow, s.Proto
}

func yes(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// dnsTypes are the names of types of questions that are met.
var dnsTypes = map[uint16]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA",
	29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 52: "TLSA",
	64: "SVCB", 65: "HTTPS", 99: "SPF", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}

var dnsCodes = [...]string{"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH", "NOTZONE"}

func (r *record) readDNS(m *sdk.DNS) kind {
	r.what, r.rest = m.Query, ""
	r.text(dnsQuery, m.Query)
	r.text(dnsType, dnsTypes[m.QType])
	r.number(dnsTypeNumber, int64(m.QType), m.Questions > 0)
	if !m.Response {
		return question
	}
	code := ""
	if int(m.RCode) < len(dnsCodes) {
		code = dnsCodes[m.RCode]
	}
	r.text(dnsCode, code)
	r.number(dnsCodeNumber, int64(m.RCode), true)
	r.list(dnsAnswers, m.Answers)
	r.text(dnsRejected, yes(m.AnswerCount == 0 && m.AuthorityCount == 0 && m.AdditionalCount == 0))
	return answer
}

// readHTTP reads an exchange whose request was seen. What it takes to put together is only made when a rule looks at it.
func (r *record) readHTTP(h *sdk.HTTP, m *matcher) kind {
	if h.Method == "" || !m.used[request] {
		return none
	}
	path := pathOf(h.Target)
	stem, query := h.Target[path:], len(h.Target)
	if i := strings.IndexAny(stem, "?#"); i >= 0 {
		stem, query = stem[:i], path+i+1
	}
	r.text(httpTarget, h.Target)
	r.values[httpPathQuery] = value{text: h.Target, from: query}
	r.text(httpStem, stem)
	r.text(httpExtension, extension(stem))
	r.text(httpHost, withoutPort(h.Host))
	r.text(httpMethod, h.Method)
	r.text(httpUserAgent, h.UserAgent)
	r.text(httpReferer, h.Referer)
	r.number(httpStatus, int64(h.Status), h.Status != 0)
	r.text(httpVersion, h.Version)
	kind, _, _ := strings.Cut(h.ContentType, ";")
	r.text(httpType, strings.TrimSpace(kind))
	if m.columns[httpURL] {
		r.url(h, path)
	}
	if m.columns[httpLine] {
		r.line(h)
	}
	r.what, r.rest = h.Host, h.Target
	if path > 0 {
		r.what = ""
	}
	return request
}

// url is the whole one, as proxies write it; as others write it, it begins at its path.
func (r *record) url(h *sdk.HTTP, path int) {
	if path > 0 || h.Method == "CONNECT" || h.Host == "" {
		r.values[httpURL] = value{text: h.Target, from: path}
		return
	}
	r.room = append(append(append(r.room[:0], "http://"...), h.Host...), h.Target...)
	r.values[httpURL] = value{text: string(r.room), from: len(r.room) - len(h.Target)}
}

// line is a request as web servers log it.
func (r *record) line(h *sdk.HTTP) {
	b := append(append(append(r.room[:0], h.Method...), ' '), h.Target...)
	b = append(append(append(b, " HTTP/"...), h.Version...), `" `...)
	b = strconv.AppendUint(b, uint64(h.Status), 10)
	b = append(append(append(b, ` "`...), h.Referer...), `" "`...)
	r.room = append(append(b, h.UserAgent...), '"')
	r.text(httpLine, string(r.room))
}

// pathOf is where the path of a target begins, which is a whole URL when it was sent to a proxy.
func pathOf(target string) int {
	scheme := strings.Index(target, "://")
	if scheme <= 0 || scheme > len("https") {
		return 0
	}
	host := scheme + len("://")
	if i := strings.IndexByte(target[host:], '/'); i >= 0 {
		return host + i
	}
	return len(target)
}

// extension is that of the last name in a path, without the dot.
func extension(stem string) string {
	name := stem[strings.LastIndexByte(stem, '/')+1:]
	if i := strings.LastIndexByte(name, '.'); i >= 0 {
		return name[i+1:]
	}
	return ""
}

func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}

var tlsVersions = map[uint16]string{0x300: "SSLv3", 0x301: "TLSv10", 0x302: "TLSv11", 0x303: "TLSv12", 0x304: "TLSv13"}

func (r *record) readTLS(t *sdk.TLS) kind {
	r.what, r.rest = t.ServerName, ""
	r.text(tlsName, t.ServerName)
	r.text(tlsVersion, tlsVersions[t.Version])
	r.text(tlsProtocol, t.ALPN)
	r.text(tlsSubject, t.Subject)
	r.text(tlsIssuer, t.Issuer)
	r.text(tlsSerial, t.Serial)
	if len(t.Serial)%2 != 0 {
		r.values[tlsSerial] = value{text: "0" + t.Serial, from: 1} // some write whole bytes, others do not
	}
	r.list(tlsNames, t.Names)
	r.number(tlsKeyBits, int64(t.KeyBits), t.KeyBits != 0)
	r.text(tlsJA3, t.JA3)
	r.text(tlsJA3S, t.JA3S)
	return handshake
}

// readSMB reads what is opened and what is renamed. Shares are remembered until then.
func (r *record) readSMB(c *sdk.SMB, s *shares) kind {
	if c.Name == "tree-connect" {
		s.connect(c)
		return none
	}
	if c.Response || c.File == "" {
		return none
	}
	r.what, r.rest = c.File, ""
	r.text(smbFile, c.File)
	r.text(smbShare, s.of(c))
	return opening
}

func (r *record) readMessage(m *sdk.Message) kind {
	switch m.Protocol {
	case "dcerpc":
		return r.readCall(m)
	case "kerberos":
		return r.readTicket(m)
	case "rdp":
		if !m.Response {
			r.what, r.rest = m.Text, ""
			r.text(rdpCookie, m.Text)
			return desktop
		}
	}
	return none
}

var ciphers = map[string]string{
	"1": "des-cbc-crc", "2": "des-cbc-md4", "3": "des-cbc-md5", "5": "des3-cbc-md5", "7": "des3-cbc-sha1", "16": "des3-cbc-sha1-kd",
	"17": "aes128-cts-hmac-sha1-96", "18": "aes256-cts-hmac-sha1-96", "19": "aes128-cts-hmac-sha256-128", "20": "aes256-cts-hmac-sha384-192",
	"23": "rc4-hmac", "24": "rc4-hmac-exp", "25": "camellia128-cts-cmac", "26": "camellia256-cts-cmac",
}

func (r *record) readTicket(m *sdk.Message) kind {
	switch m.Name {
	case "as-rep":
		r.text(krbType, "AS")
	case "tgs-rep":
		r.text(krbType, "TGS")
	default:
		return none
	}
	r.what, r.rest = m.Fields["service"], ""
	r.text(krbService, r.what)
	r.text(krbCipher, ciphers[m.Fields["ticket"]])
	return ticket
}

func (r *record) readFlow(f *sdk.Flow) {
	r.hosts(f.Src, f.Dst, f.SrcPort, f.DstPort)
	r.flow, r.proto, r.what, r.rest = f.ID, f.Proto, "", ""
	proto := sdk.ProtoName(f.Proto)
	if f.Proto == sdk.ProtoICMPv6 {
		proto = "icmp" // as Zeek says
	}
	r.text(flowProto, proto)
	r.number(flowSentBytes, int64(f.FwdPayload), true)
	r.number(flowGotBytes, int64(f.RevPayload), true)
	r.number(flowSentPackets, int64(f.FwdPackets), true)
	r.number(flowGotPackets, int64(f.RevPackets), true)
}
