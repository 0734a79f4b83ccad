package carve

import (
	"bytes"
	"strings"
)

// application reads the first bytes of what the transport carries, where they speak for themselves. The whole of it, over
// all packets of the flow, is for the parsers of package app.
func application(d *dissector) step {
	b := d.left()
	switch {
	case len(b) == 0:
	case d.src == 53 || d.dst == 53 || d.src == 5353 || d.dst == 5353 || d.src == 5355 || d.dst == 5355:
		dns(d)
	case len(b) >= 5 && b[0] >= 20 && b[0] <= 23 && b[1] == 3 && b[2] <= 4:
		return tlsRecord
	case text(b):
		line(d)
	}
	return nil
}

var (
	dnsKinds     = map[uint16]string{1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV", 65: "HTTPS", 255: "ANY"}
	dnsOutcomes  = map[uint16]string{0: "no error", 1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}
	recordKinds  = map[uint8]string{20: "change cipher spec", 21: "alert", 22: "handshake", 23: "application data"}
	messageKinds = map[uint8]string{1: "client hello", 2: "server hello", 4: "new session ticket", 8: "encrypted extensions", 11: "certificate",
		12: "server key exchange", 13: "certificate request", 14: "server hello done", 15: "certificate verify", 16: "client key exchange", 20: "finished"}
	tlsVersions = map[uint16]string{0x300: "SSL 3.0", 0x301: "TLS 1.0", 0x302: "TLS 1.1", 0x303: "TLS 1.2", 0x304: "TLS 1.3"}
)

// dns reads the header and the first question. Over TCP a length stands before them.
func dns(d *dissector) {
	prefix := 0
	if d.layer().Name == "TCP" {
		prefix = 2
	}
	b := d.open("DNS", 12+prefix)
	if b == nil {
		return
	}
	if prefix > 0 {
		d.field("Length", 0, 2, "%d", u16(b))
	}
	h := b[prefix:]
	flags := u16(h[2:])
	d.field("Transaction", prefix, 2, "0x%04x", u16(h))
	d.field("Kind", prefix+2, 2, "%s", map[bool]string{false: "query", true: "answer"}[flags&0x8000 != 0])
	d.field("Outcome", prefix+2, 2, "%s", named(flags&15, dnsOutcomes))
	for i, name := range []string{"Questions", "Answers", "Authorities", "Additional"} {
		d.field(name, prefix+4+2*i, 2, "%d", u16(h[4+2*i:]))
	}
	size := 12
	if u16(h[4:]) > 0 {
		if name, n := question(h[12:]); n > 0 {
			d.field("Name", prefix+size, n, "%s", name)
			size += n
			if len(h) >= size+4 {
				d.field("Type", prefix+size, 2, "%s", named(u16(h[size:]), dnsKinds))
				size += 4
			}
		}
	}
	d.close(prefix + size)
}

// question reads a name without pointers and how many bytes it has, 0 when there is none.
func question(b []byte) (string, int) {
	var labels []string
	for at := 0; at < len(b) && at < 256; {
		n := int(b[at])
		if n == 0 {
			if len(labels) == 0 {
				return ".", at + 1
			}
			return strings.Join(labels, "."), at + 1
		}
		if n > 63 || at+1+n > len(b) {
			return "", 0
		}
		labels = append(labels, string(b[at+1:at+1+n]))
		at += 1 + n
	}
	return "", 0
}

// tlsRecord reads one record's header; more follow while they do.
func tlsRecord(d *dissector) step {
	b := d.left()
	if len(b) < 5 || b[0] < 20 || b[0] > 23 || b[1] != 3 {
		return nil
	}
	d.open("TLS", 5)
	length := int(u16(b[3:]))
	d.field("Record", 0, 1, "%s", named(b[0], recordKinds))
	d.field("Version", 1, 2, "%s", named(u16(b[1:]), tlsVersions))
	d.field("Length", 3, 2, "%d", length)
	if _, known := messageKinds[at(b, 5)]; b[0] == 22 && known && length < 1<<14 {
		d.field("Message", 5, 1, "%s", named(b[5], messageKinds))
	}
	if 5+length > len(b) {
		d.close(len(b)) // the rest is in other packets
		return nil
	}
	d.close(5 + length)
	return tlsRecord
}

func at(b []byte, i int) byte {
	if i < len(b) {
		return b[i]
	}
	return 0
}

// text reports whether the first bytes are a line of plain text.
func text(b []byte) bool {
	head := b[:min(len(b), 64)]
	if i := bytes.IndexByte(head, '\n'); i >= 0 {
		head = head[:i]
	}
	if len(head) < 4 {
		return false
	}
	for _, c := range head {
		if (c < ' ' || c > '~') && c != '\r' && c != '\t' {
			return false
		}
	}
	return true
}

// line shows the first line of a text.
func line(d *dissector) {
	b := d.left()
	n := bytes.IndexByte(b, '\n') + 1
	if n == 0 {
		n = len(b)
	}
	d.open("Text", n)
	d.field("First line", 0, n, "%s", bytes.TrimRight(b[:n], "\r\n"))
	d.close(n)
}
