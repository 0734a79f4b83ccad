package tls

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// record is one of DTLS.
func record(kind byte, epoch uint16, content []byte) []byte {
	b := make([]byte, datagramRecord, datagramRecord+len(content))
	b[0], b[1], b[2] = kind, 0xfe, 0xfd
	binary.BigEndian.PutUint16(b[3:], epoch)
	binary.BigEndian.PutUint16(b[11:], uint16(len(content)))
	return append(b, content...)
}

// parts are a handshake message in parts of at most size bytes.
func parts(kind byte, number uint16, body []byte, size int) (out [][]byte) {
	for from := 0; from < len(body) || from == 0; from += size {
		part := body[from:min(len(body), from+size)]
		head := []byte{kind, 0, byte(len(body) >> 8), byte(len(body)), byte(number >> 8), byte(number), 0, byte(from >> 8), byte(from), 0, byte(len(part) >> 8), byte(len(part))}
		out = append(out, record(recordHandshake, 0, append(head, part...)))
	}
	return out
}

// hello is a client's with a cookie, or a server's answer.
func hello(client bool) []byte {
	b := append([]byte{0xfe, 0xfd}, make([]byte, 32)...)
	if !client {
		return append(b, 0, 0xc0, 0x2b, 0, 0, 4, 0xff, 1, 0, 0)
	}
	b = append(b, 0, 2, 9, 9, 0, 2, 0xc0, 0x2b, 1, 0)
	return append(b, 0, 10, 0, 0, 0, 6, 0, 4, 0, 0, 1, 'h')
}

// converse gives datagrams to the parser and returns what it said.
func converse(say func(tell func(app.Dir, ...[]byte) app.Next)) (lines []string) {
	p := DTLS()
	parser := p.NewDatagram()
	parser.Start(app.TestFlow(p, 17, func(f *app.Fact) {
		switch m := f.Body.(type) {
		case *ClientHello:
			lines = append(lines, fmt.Sprintf("client %x %s %x %s %v", m.Legacy, m.ServerName, m.Ciphers, m.JA4[:min(3, len(m.JA4))], m.Damaged))
		case *ServerHello:
			lines = append(lines, fmt.Sprintf("server %x %x %v", m.Version, m.Cipher, m.Damaged))
		case *Certificates:
			line := fmt.Sprint("certificates ", len(m.Chain))
			for _, c := range m.Chain {
				line += " " + c.Subject
			}
			lines = append(lines, line)
		case *Alert:
			lines = append(lines, fmt.Sprint("alert ", m.Description))
		}
	}))
	say(func(d app.Dir, datagrams ...[]byte) (next app.Next) {
		for _, b := range datagrams {
			if next = parser.Datagram(d, b, 0); next != app.Continue {
				break
			}
		}
		return next
	})
	parser.Close()
	return lines
}

func TestDatagrams(t *testing.T) {
	_, leaf := newCertificate(t)
	chain := slices.Concat([]byte{0, byte((len(leaf.Raw) + 3) >> 8), byte(len(leaf.Raw) + 3), 0, byte(len(leaf.Raw) >> 8), byte(len(leaf.Raw))}, leaf.Raw)
	want := []string{"client fefd h [c02b] dd2 false", "server fefd c02b false", "certificates 1 CN=www.example.com", "alert 40"}
	for _, size := range []int{7, 100, 5000} {
		for name, order := range map[string]func([][]byte) [][]byte{
			"in order": func(d [][]byte) [][]byte { return d },
			"twice":    func(d [][]byte) [][]byte { return slices.Concat(d, d) },
			"in one": func(d [][]byte) [][]byte {
				return [][]byte{slices.Concat(d[:min(len(d), maxRecords)]...), slices.Concat(d[min(len(d), maxRecords):]...)}
			},
			"the last part first": func(d [][]byte) [][]byte { return slices.Concat(d[len(d)-1:], d) },
		} {
			if name == "twice" && size == 7 {
				continue // more datagrams than are looked at
			}
			have := converse(func(tell func(app.Dir, ...[]byte) app.Next) {
				tell(app.Client, order(parts(typeClientHello, 0, hello(true), size))...)
				tell(app.Server, order(parts(typeServerHello, 0, hello(false), size))...)
				tell(app.Server, order(parts(typeCertificate, 1, chain, max(size, 100)))...)
				tell(app.Server, record(recordAlert, 0, []byte{2, 40}))
				if tell(app.Client, record(recordHandshake, 1, make([]byte, 40))) != app.Continue || tell(app.Server, record(recordHandshake, 1, make([]byte, 40))) != app.Done {
					t.Error("it does not end where the server's words are encrypted")
				}
			})
			if have = slices.Compact(have); !slices.Equal(have, want) {
				t.Errorf("%s, parts of %d: %q", name, size, have)
			}
		}
	}
}

func TestHostileDatagrams(t *testing.T) {
	whole := parts(typeClientHello, 0, hello(true), 1000)[0]
	for n := range whole {
		converse(func(tell func(app.Dir, ...[]byte) app.Next) { tell(app.Client, slices.Clone(whole[:n])) })
		bad := slices.Clone(whole)
		bad[n] ^= 0xff
		converse(func(tell func(app.Dir, ...[]byte) app.Next) { tell(app.Client, bad, whole) })
		recogniseDTLS(app.Client, bad)
	}
	large := parts(typeClientHello, 0, make([]byte, maxAssembled+1), 1000)
	if have := converse(func(tell func(app.Dir, ...[]byte) app.Next) { tell(app.Client, large...) }); len(have) > 0 {
		t.Errorf("a message beyond the limit: %q", have)
	}
	hole := parts(typeClientHello, 0, hello(true), 10)
	if have := converse(func(tell func(app.Dir, ...[]byte) app.Next) { tell(app.Client, slices.Concat(hole[:1], hole[2:])...) }); len(have) > 0 {
		t.Errorf("a message with a hole: %q", have)
	}
	if have := converse(func(tell func(app.Dir, ...[]byte) app.Next) {
		for range maxDatagrams {
			tell(app.Client, []byte{1})
		}
		if tell(app.Client, whole) != app.Done {
			t.Error("it never ends")
		}
	}); len(have) > 0 {
		t.Errorf("%q", have)
	}
}

func TestRecogniseDatagrams(t *testing.T) {
	for d, want := range map[app.Dir]app.Verdict{app.Client: app.Sure, app.Server: app.No} {
		if have := recogniseDTLS(d, parts(typeClientHello, 0, hello(true), 1000)[0]); have != want {
			t.Errorf("a client's hello in direction %d: %d", d, have)
		}
		if have := recogniseDTLS(1-d, parts(typeServerHello, 0, hello(false), 1000)[0]); have != want {
			t.Errorf("a server's hello in direction %d: %d", 1-d, have)
		}
	}
}

func TestDatagramsAgreeWithTshark(t *testing.T) {
	path := apptest.Shared(t, "benign-tls__ntop__dtls.pcap.pcapng")
	var have, want, said []string
	apptest.Run(t, path, []app.Protocol{DTLS()}, func(f *app.Fact) {
		frame := strconv.FormatUint(f.Flow.Packet, 10)
		switch m := f.Body.(type) {
		case *ClientHello:
			have = append(have, fmt.Sprint(frame, " 1 ", m.Legacy, len(m.Ciphers), decimals(m.Extensions), m.JA3))
		case *ServerHello:
			have = append(have, fmt.Sprint(frame, " 2 ", m.Cipher, decimals(m.Extensions), m.JA3S))
		}
	})
	for _, row := range apptest.Tshark(t, path, "dtls.handshake.type == 1 || dtls.handshake.type == 2", "frame.number", "dtls.handshake.version", "dtls.handshake.ciphersuite",
		"dtls.handshake.extension.type", "dtls.handshake.ja3", "dtls.handshake.ja3s", "ip.src", "udp.srcport", "dtls.handshake.message_seq") {
		message := fmt.Sprint(row[6:])
		if slices.Contains(said, message) {
			continue // said once more, because nobody answered; that is left out here
		}
		said = append(said, message)
		if len(row[4]) > 0 {
			want = append(want, fmt.Sprint(row[0][0], " 1 ", number(row[1][0]), len(row[2]), decimalsOf(row[3]), row[4][0]))
		} else {
			want = append(want, fmt.Sprint(row[0][0], " 2 ", number(row[2][0]), decimalsOf(row[3]), strings.Join(row[5], "")))
		}
	}
	if !slices.Equal(have, want) || len(want) < 2 {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	t.Log(len(want), "hellos compared")
}

func FuzzDatagram(f *testing.F) {
	apptest.FuzzDatagram(f, DTLS(), parts(typeClientHello, 0, hello(true), 1000)[0], slices.Concat(parts(typeServerHello, 0, hello(false), 20)...))
}
