package tls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// conversation is a handshake of Go's own client and server, as the wire has it.
func conversation(tb testing.TB, version uint16) []apptest.Said {
	tb.Helper()
	cert, pool := selfSigned(tb)
	a, b := net.Pipe()
	var talk []apptest.Said
	clientSide := &tap{Conn: a, dir: app.Client, talk: &talk}
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MaxVersion: version})
		done <- s.Handshake()
		b.Close()
	}()
	c := tls.Client(clientSide, &tls.Config{RootCAs: pool, ServerName: "www.example.com", NextProtos: []string{"h2", "http/1.1"}, MaxVersion: version})
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		tb.Fatal(err)
	}
	return talk
}

// tap notes what goes over the client's side.
type tap struct {
	net.Conn
	dir  app.Dir
	talk *[]apptest.Said
}

func (t *tap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	*t.talk = append(*t.talk, apptest.Server(string(b[:n])))
	return n, err
}

func (t *tap) Write(b []byte) (int, error) {
	*t.talk = append(*t.talk, apptest.Client(string(b)))
	return t.Conn.Write(b)
}

func TestHandshake(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		talk := conversation(t, version)
		for _, size := range []int{1, 3, 100, 1 << 20} {
			var client ClientHello
			var server ServerHello
			var names []string
			next := apptest.Stream(TLS(), size, func(f *app.Fact) {
				switch m := f.Body.(type) {
				case *ClientHello:
					client = *m
					client.ALPN = slices.Clone(m.ALPN)
				case *ServerHello:
					server = *m
				case *Certificates:
					names = m.Chain[0].Names
				}
			}, talk...)
			if next != app.Done {
				t.Errorf("%x: goes on although all is encrypted", version)
			}
			if client.ServerName != "www.example.com" || !slices.Equal(client.ALPN, []string{"h2", "http/1.1"}) || client.Damaged || len(client.JA3) != 32 {
				t.Errorf("%x: client %+v", version, client)
			}
			if server.Version != version || server.Damaged || server.Retry || version == tls.VersionTLS12 && server.ALPN != "h2" {
				t.Errorf("%x: server %+v", version, server)
			}
			if want := version == tls.VersionTLS12; slices.Contains(names, "www.example.com") != want {
				t.Errorf("%x: names %v", version, names)
			}
		}
	}
}

func TestRecognise(t *testing.T) {
	talk := conversation(t, tls.VersionTLS12)
	for _, s := range []apptest.Said{talk[0], talk[1]} {
		if v := recognise(s.Dir, []byte(s.Text)); v != app.Sure {
			t.Errorf("%d: %d", s.Dir, v)
		}
		if v := recognise(1-s.Dir, []byte(s.Text)); v == app.Sure {
			t.Errorf("%d: from the wrong side", s.Dir)
		}
	}
	for text, want := range map[string]app.Verdict{
		"\x16\x03\x01":                                app.More,
		"\x16\x03\x09\x00\x10\x01":                    app.No,
		"\x16\x03\x01\xff\xff\x01":                    app.No,
		"\x17\x03\x03\x00\x02ab":                      app.Likely,
		"\x17\x03\x03\x00\x02ab\x17\x03\x03\x00\x01x": app.Sure,
		"\x17\x03\x03\x00\x02ab\x00\x03\x03\x00\x01x": app.No,
		"\x80\x1c\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f" + strings.Repeat("c", 16):       app.Sure,
		"\x80\x1d\x01\x03\x01\x00\x03\x00\x00\x00\x10\x00\x00\x2f" + strings.Repeat("c", 16) + "x": app.No,
	} {
		if v := recognise(app.Client, []byte(text)); v != want {
			t.Errorf("%q: %d, want %d", text, v, want)
		}
	}
}

// The values are those of the published description of JA4.
func TestJA4(t *testing.T) {
	h := ClientHello{
		Legacy: 0x0303, Versions: []uint16{0x0304, 0x0303}, ALPN: []string{"h2", "http/1.1"},
		Ciphers: []uint16{0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035},
		Extensions: []uint16{
			0x3a3a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x0015, 0x4a4a,
		},
		Signatures: []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
	}
	if have, want := h.ja4(OverTCP), "t13d1516h2_8daaf6152771_e5627efa2ab1"; have != want {
		t.Errorf("%s, want %s", have, want)
	}
	none := ClientHello{Legacy: 0x0301, ALPN: []string{"\xabx\xcd"}}
	if have, want := none.ja4(OverQUIC), "q10i0000ad_000000000000_000000000000"; have != want {
		t.Errorf("%s, want %s", have, want)
	}
}

func TestCutHellosAreDamaged(t *testing.T) {
	talk := conversation(t, tls.VersionTLS12)
	body := []byte(talk[0].Text)[9:]
	var h ClientHello
	h.Read(body, OverTCP)
	if h.Damaged {
		t.Fatalf("%+v", h)
	}
	for n := range len(body) {
		h.Read(body[:n], OverTCP)
		if endsBeforeExtensions := n == 35+32+2+len(h.Ciphers)*2+2; !h.Damaged && !endsBeforeExtensions {
			t.Fatalf("cut at %d: %+v", n, h)
		}
	}
}

func TestHugeHello(t *testing.T) {
	body := append([]byte{3, 3}, make([]byte, 33)...)
	body = binary.BigEndian.AppendUint16(body, 60_000)
	body = append(body, make([]byte, 60_000)...)
	body = append(body, 1, 0)
	var h ClientHello
	h.Read(body, OverTCP)
	if !h.Damaged || len(h.Ciphers) != maxList || h.JA3 != "" {
		t.Errorf("%d ciphers, damaged %v", len(h.Ciphers), h.Damaged)
	}
}

func TestBadCertificate(t *testing.T) {
	var out Certificates
	k := &certificates{}
	f := app.TestFlow(TLS(), 6, nil)
	k.read(&out, []byte("\x00\x00\x08\x00\x00\x02hi\x00\x00\x09cut"), f)
	if len(out.Chain) != 1 || out.Chain[0].Error == "" || len(out.Chain[0].SHA256) != 64 {
		t.Errorf("%+v", out.Chain)
	}
	for range 3 * maxKnown {
		k.certificate(binary.BigEndian.AppendUint16(nil, uint16(len(k.known))))
	}
	if len(k.known) > maxKnown {
		t.Errorf("%d certificates are kept", len(k.known))
	}
}

func FuzzStream(f *testing.F) {
	apptest.FuzzStream(f, TLS(), conversation(f, tls.VersionTLS12), conversation(f, tls.VersionTLS13))
}

func selfSigned(tb testing.TB) (tls.Certificate, *x509.CertPool) {
	tb.Helper()
	cert, leaf := newCertificate(tb)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return cert, pool
}
