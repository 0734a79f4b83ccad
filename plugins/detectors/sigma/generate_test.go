package sigma

import (
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnscase"
	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

// The captures hold the same conversations of each kind; in marked everything is what rules of the tests look for, in other nothing.
func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"marked": marked, "other": other})
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func marked(w *talk.Wire) {
	from, to := host(66), host(20)
	w.PortsFrom(41001)
	w.UDP(0, from, to, 5355, dns(0x0100, "evil.stage.example", 16, ""), dns(0x8180, "evil.stage.example", 16, "IEX (Invoke-Expression x)"))
	w.UDP(time.Second, from, to, 5355, dns(0x0100, "bad.oast.fun", 1, ""), dns(0x8185, "bad.oast.fun", 1, ""))
	w.TCP(2*time.Second, from, to, 8080, web("PUT /shop/Setup.exe?cmd=read&to=evil.example HTTP/1.0", "403 Forbidden", "application/x-dosexec; v=1",
		strings.Repeat("up", 10_000), strings.Repeat("down", 5_000), "Host: evil.example:8080", "User-Agent: Probe/1.0", "Referer: http://from.example/x")...)
	w.TCP(3*time.Second, from, to, 8080, web("GET /.git/HEAD HTTP/1.0", "200 OK", "application/x-dosexec", "", "ref", "Host: evil.example:8080")...)
	w.TCP(4*time.Second, from, to, 8080, web("GET http://cdn.example/a/x.exe HTTP/1.0", "200 OK", "application/x-dosexec", "", "MZ", "Host: cdn.example", "User-Agent: Microsoft BITS/7.8")...)
	w.TCP(4500*time.Millisecond, from, to, 8080, web("GET /enc?"+encodings("evil words")+" HTTP/1.0", "400 Bad Request", "text/plain", "", "", "Host: enc.example")...)
	w.TCP(5*time.Second, from, to, 8443, talk.Client(hello(0x302, "evil.example", "spoke")), talk.Server(serverHello(0x302, "spoke", certificate("evil.example", "Evil Authority", 0x8bb00ee, 1024))),
		talk.Client(sealed), talk.Server(sealed))
	w.TCP(6*time.Second, from, to, 1445, slices.Concat(share(1, 1, `\\server\IPC$`), create(2, 1, "atsvc"))...)
	w.TCP(7*time.Second, from, to, 49154, calls("367abb81-9844-35f1-ad32-98f038001003", 12)...)
	w.UDP(8*time.Second, from, to, 750, tickets(12, "HTTP/evil", 0), tickets(13, "HTTP/evil", 23))
	w.TCP(9*time.Second, from, to, 3390, talk.Client(desktopRequest("evil")), talk.Server(desktopAnswer))
}

func other(w *talk.Wire) {
	from, to := host(7), host(30)
	w.PortsFrom(45001)
	w.TCP(0, from, to, 53, talk.Client(framed(dns(0x0100, "www.example", 1, ""))), talk.Server(framed(dns(0x8180, "www.example", 1, "\x0a\x00\x00\x01"))))
	w.TCP(2*time.Second, from, to, 80, web("GET /index.html?page=1 HTTP/1.1", "200 OK", "text/html", "", "hi", "Host: www.example", "User-Agent: Browser/5", "Referer: http://www.example/")...)
	w.TCP(5*time.Second, from, to, 443, talk.Client(hello(0x303, "www.example", "h2")), talk.Server(serverHello(0x303, "h2", certificate("www.example", "Example Authority", 0x1234, 2048))),
		talk.Client(sealed), talk.Server(sealed))
	w.TCP(6*time.Second, from, to, 445, slices.Concat(share(1, 1, `\\server\Users`), create(2, 1, "notes.txt"))...)
	w.TCP(7*time.Second, from, to, 49155, calls("338cd001-2244-31f1-aaaa-900038001003", 2)...)
	w.TCP(8*time.Second, from, to, 88, talk.Client(long(tickets(10, "krbtgt/EXAMPLE.COM", 0))), talk.Server(long(tickets(11, "krbtgt/EXAMPLE.COM", 18))))
	w.TCP(9*time.Second, from, to, 3389, talk.Client(desktopRequest("ada")), talk.Server(desktopAnswer))
}

// dns is a message; of an answer with a record data is its text, or its address.
func dns(flags uint16, name string, kind uint16, data string) string {
	b := []byte{0x12, 0x34}
	b = binary.BigEndian.AppendUint16(b, flags)
	records := byte(0)
	if data != "" {
		records = 1
	}
	b = append(b, 0, 1, 0, records, 0, 0, 0, 0)
	b = append(b, dnscase.Name(name)...)
	b = append(b, byte(kind>>8), byte(kind), 0, 1)
	if data != "" {
		if kind == dnscase.TXT {
			data = string(dnscase.Text(data))
		}
		b = append(b, 0xc0, 12, byte(kind>>8), byte(kind), 0, 1, 0, 0, 1, 0, byte(len(data)>>8), byte(len(data)))
		b = append(b, data...)
	}
	return string(b)
}

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func u24(n int) string { return string([]byte{byte(n >> 16)}) + u16(n&0xffff) }

func framed(s string) string { return u16(len(s)) + s }

func long(s string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) + s }

func web(line, status, kind, body, answer string, headers ...string) []talk.Said {
	length := func(s string) string { return "Content-Length: " + big.NewInt(int64(len(s))).String() + "\r\n" }
	head := line + "\r\n" + strings.Join(headers, "\r\n") + "\r\n"
	if body != "" {
		head += length(body)
	}
	return []talk.Said{talk.Client(head + "\r\n" + body), talk.Server("HTTP/1.1 " + status + "\r\nContent-Type: " + kind + "\r\n" + length(answer) + "\r\n" + answer)}
}

// encodings are what a text may be hidden in.
func encodings(text string) string {
	out := "in=" + base64.StdEncoding.EncodeToString([]byte("x"+text+"x")) + "&plain=" + base64.StdEncoding.EncodeToString([]byte(text))
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		var b []byte
		for _, u := range utf16.Encode([]rune(text)) {
			b = order.AppendUint16(b, u)
		}
		out += "&wide=" + base64.StdEncoding.EncodeToString(b)
		if order == binary.LittleEndian {
			out += "&marked=" + base64.StdEncoding.EncodeToString(append([]byte{0xff, 0xfe}, b...))
		}
	}
	return out
}

// handshakeMessage is one in a record.
func handshakeMessage(kind byte, body string) string {
	return "\x16\x03\x01" + framed(string([]byte{kind})+u24(len(body))+body)
}

func protocol(name string) string {
	return "\x00\x10" + framed(framed(string([]byte{byte(len(name))})+name))
}

func hello(version int, name, alpn string) string {
	ext := "\x00\x0a" + framed(framed("\x00\x1d\x00\x17")) + "\x00\x00" + framed(framed("\x00"+framed(name))) + protocol(alpn)
	return handshakeMessage(1, u16(version)+strings.Repeat("r", 32)+"\x00"+framed("\xc0\x2f\x00\x2f")+"\x01\x00"+framed(ext))
}

func serverHello(version int, alpn, certificate string) string {
	list := u24(len(certificate)) + certificate
	return handshakeMessage(2, u16(version)+strings.Repeat("s", 32)+"\x00\xc0\x2f\x00"+framed(protocol(alpn))) + handshakeMessage(11, u24(len(list))+list) + handshakeMessage(14, "")
}

const sealed = "\x14\x03\x03\x00\x01\x01\x16\x03\x03\x00\x10never to be read"

// certificate is a server's, whose key is odd but whose bytes are always the same.
func certificate(name, issuer string, serial int64, bits uint) string {
	begun := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	n := new(big.Int).Lsh(big.NewInt(1), bits-1)
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotBefore: begun.AddDate(0, -1, 0), NotAfter: begun.AddDate(0, 6, 0)}
	der, err := x509.CreateCertificate(nil, c, &x509.Certificate{Subject: pkix.Name{CommonName: issuer}}, &rsa.PublicKey{N: n.Add(n, big.NewInt(7)), E: 65537},
		ed25519.NewKeyFromSeed([]byte(strings.Repeat("k", ed25519.SeedSize))))
	if err != nil {
		panic(err)
	}
	return string(der)
}

// smb2 is a message of SMB 2 in its frame.
func smb2(code uint16, response bool, id byte, tree uint32, body []byte, text string) string {
	b := make([]byte, 64)
	copy(b, "\xfeSMB\x40")
	binary.LittleEndian.PutUint16(b[12:], code)
	if response {
		b[16] = 1
	}
	b[24] = id
	binary.LittleEndian.PutUint32(b[36:], tree)
	b = append(append(b, body...), text...)
	return "\x00" + u24(len(b)) + string(b)
}

func utf16Text(s string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

// pointing is a body with the place and the length of a text behind it.
func pointing(size, at int, text string) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint16(b[at:], uint16(64+size))
	binary.LittleEndian.PutUint16(b[at+2:], uint16(len(text)))
	return b
}

func share(id byte, number uint32, share string) []talk.Said {
	name := utf16Text(share)
	return []talk.Said{talk.Client(smb2(3, false, id, 0, pointing(8, 4, name), name)), talk.Server(smb2(3, true, id, number, make([]byte, 16), ""))}
}

func create(id byte, in uint32, file string) []talk.Said {
	name := utf16Text(file)
	return []talk.Said{talk.Client(smb2(5, false, id, in, pointing(56, 44, name), name)), talk.Server(smb2(5, true, id, in, make([]byte, 88), ""))}
}

// rpc is a message of a remote procedure call.
func rpc(kind byte, body ...string) string {
	rest := strings.Join(body, "")
	b := []byte{5, 0, kind, 3, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)+len(rest)))
	return string(b) + rest
}

// calls is a connection in which an operation of an interface is called.
func calls(uuid string, operation byte) []talk.Said {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil {
		panic(err)
	}
	slices.Reverse(b[:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	bind := rpc(11, strings.Repeat("\x00", 8), "\x01\x00\x00\x00\x00\x00\x01\x00", string(b), "\x01\x00\x00\x00",
		"\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00")
	return []talk.Said{talk.Client(bind), talk.Server(rpc(12, "accepted")),
		talk.Client(rpc(0, "\x04\x00\x00\x00\x00\x00", string([]byte{operation, 0}), "args")), talk.Server(rpc(2, "12345678done"))}
}

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) > 127 {
		return string([]byte{tag, 0x82}) + framed(body)
	}
	return string([]byte{tag, byte(len(body))}) + body
}

func integer(n byte) string { return tlv(2, string([]byte{n})) }

func principal(name string) string {
	list := ""
	for part := range strings.SplitSeq(name, "/") {
		list += tlv(0x1b, part)
	}
	return tlv(0x30, tlv(0xa0, integer(2)), tlv(0xa1, tlv(0x30, list)))
}

// tickets is a message of Kerberos: a request for a ticket, or one that is handed out with an encryption.
func tickets(kind byte, service string, encryption byte) string {
	if encryption == 0 {
		return tlv(0x60+kind, tlv(0x30, tlv(0xa1, integer(5)), tlv(0xa2, integer(kind)), tlv(0xa4, tlv(0x30, tlv(0xa0, tlv(3, "\x00\x40\x81\x00\x10")),
			tlv(0xa1, principal("bob")), tlv(0xa2, tlv(0x1b, "EXAMPLE.COM")), tlv(0xa3, principal(service)), tlv(0xa8, tlv(0x30, integer(23)))))))
	}
	return tlv(0x60+kind, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa1, integer(kind)), tlv(0xa3, tlv(0x1b, "EXAMPLE.COM")), tlv(0xa4, principal("bob")),
		tlv(0xa5, tlv(0x61, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa2, principal(service)), tlv(0xa3, tlv(0x30, tlv(0xa0, integer(encryption)))))))))
}

// desktopRequest begins a connection of RDP.
func desktopRequest(user string) string {
	body := "\xe0\x00\x00\x00\x00\x00Cookie: mstshash=" + user + "\r\n\x01\x00\x08\x00\x03\x00\x00\x00"
	return "\x03\x00" + u16(5+len(body)) + string([]byte{byte(len(body))}) + body
}

const desktopAnswer = "\x03\x00\x00\x13\x0e\xd0\x00\x00\x12\x34\x00\x02\x0f\x08\x00\x02\x00\x00\x00"
