package quic

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// The keys are those of the examples in RFC 9001 and RFC 9369.
func TestKeys(t *testing.T) {
	id, _ := hex.DecodeString("8394c8f03e515708")
	for _, test := range []struct {
		p      *params
		iv     [2]string
		sample string
		mask   string
	}{
		{version1, [2]string{"fa044b2f42a3fd3b46fb255c", "0ac1493ca1905853b0bba03e"}, "d1b1c98dd7689fb8ec11d242b123dc9b", "437b9aec36"},
		{version2, [2]string{"91f73e2351d8fa91660e909f", "684dd5f72d64d28dfa8a13a8"}, "ffe67b6abcdb4298b485dd04de806071", "94a0c95e80"},
	} {
		secret := secretOf(test.p, id)
		k := [2]*keys{newKeys(test.p, secret, app.Client), newKeys(test.p, secret, app.Server)}
		for d, want := range test.iv {
			if have := hex.EncodeToString(k[d].iv); have != want && d == 0 || len(have) != len(want) {
				t.Errorf("%s direction %d: iv %s, want %s", test.p.prefix, d, have, want)
			}
		}
		sample, _ := hex.DecodeString(test.sample)
		var mask [16]byte
		k[0].header.Encrypt(mask[:], sample)
		if have := hex.EncodeToString(mask[:5]); have != test.mask {
			t.Errorf("%s: mask %s, want %s", test.p.prefix, have, test.mask)
		}
	}
}

// seal makes a client's Initial packet with the frames.
func seal(version uint32, id []byte, number uint32, frames []byte) []byte {
	p := paramsOf(version)
	k := newKeys(p, secretOf(p, id), app.Client)
	b := binary.BigEndian.AppendUint32([]byte{0xc3 | p.initialType<<4}, version)
	b = append(append(b, byte(len(id))), id...)
	b = append(b, 0, 0) // no source id, no token
	b = binary.BigEndian.AppendUint16(b, uint16(0x4000|(4+len(frames)+16)))
	at := len(b)
	b = binary.BigEndian.AppendUint32(b, number)
	nonce := slices.Clone(k.iv)
	binary.BigEndian.PutUint32(nonce[8:], binary.BigEndian.Uint32(nonce[8:])^number)
	b = k.aead.Seal(b, nonce, frames, b)
	var mask [16]byte
	k.header.Encrypt(mask[:], b[at+4:at+20])
	b[0] ^= mask[0] & 0xf
	for i := range 4 {
		b[at+i] ^= mask[1+i]
	}
	return b
}

// hello is a ClientHello message with a name.
func hello(name string) []byte {
	sni := "\x00\x00" + two(len(name)+5) + two(len(name)+3) + "\x00" + two(len(name)) + name
	alpn := "\x00\x10\x00\x05\x00\x03\x02h3"
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00" + "\x00\x02\x13\x01" + "\x01\x00" + two(len(sni)+len(alpn)) + sni + alpn
	return []byte("\x01\x00" + two(len(body)) + body)
}

func two(n int) string { return string([]byte{byte(n >> 8), byte(n)}) }

func frame(at int, b []byte) []byte {
	return append([]byte("\x06"+two(0x4000|at)+two(0x4000|len(b))), b...)
}

func follow(datagrams ...[]byte) (names []string, next app.Next) {
	p := QUIC.NewDatagram()
	p.Start(app.TestFlow(QUIC, 17, func(f *app.Fact) {
		names = append(names, f.Body.(*Hello).Client.ServerName)
	}))
	for _, b := range datagrams {
		before := string(b)
		next = p.Datagram(app.Client, b, 0)
		if string(b) != before {
			names = append(names, "the packet was changed")
		}
	}
	p.Close()
	return names, next
}

func TestInitial(t *testing.T) {
	id := []byte("12345678")
	h := hello("www.example.com")
	for _, version := range []uint32{1, 0x6b3343cf, 0xff00001d, 0xff00001b} {
		scattered := slices.Concat(frame(20, h[20:30]), []byte{0, 0, 1, 0}, frame(0, h[:20]), []byte{2, 5, 0, 1, 0, 0, 0}, frame(50, h[50:]), make([]byte, 100))
		first, second := seal(version, id, 0, scattered), seal(version, id, 1, slices.Concat(frame(30, h[30:50]), make([]byte, 50)))
		for name, datagrams := range map[string][][]byte{
			"in order": {first, second}, "turned round": {second, first}, "repeated": {first, first, second}, "coalesced": {slices.Concat(first, second)},
			"after a retry": {seal(version, []byte("other"), 0, make([]byte, 60)), first, second},
		} {
			names, _ := follow(datagrams...)
			if !slices.Equal(names, []string{"www.example.com"}) {
				t.Errorf("version %x, %s: %q", version, name, names)
			}
		}
		if v := recognise(app.Client, first); v != app.Sure {
			t.Errorf("version %x: %d", version, v)
		}
	}
}

func TestHostile(t *testing.T) {
	id := []byte("12345678")
	good := seal(1, id, 0, frame(0, hello("a")))
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 0x55
		if names, _ := follow(bad, good[:i]); len(names) != 0 {
			t.Fatalf("byte %d changed: %q", i, names)
		}
	}
	for name, frames := range map[string][]byte{
		"offset far away":  slices.Concat([]byte("\x06\xff\xff\xff\xff\xff\xff\xff\xff\x01x"), make([]byte, 30)),
		"length beyond":    slices.Concat([]byte("\x06\x00\x7f\xff"), make([]byte, 30)),
		"ack without end":  slices.Concat([]byte("\x02\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"), make([]byte, 30)),
		"hello too long":   frame(0, slices.Concat([]byte("\x01\xff\xff\xff"), make([]byte, 30))),
		"not a hello":      frame(0, slices.Concat([]byte("\x0b\x00\x00\x08"), make([]byte, 30))),
		"unknown frame":    slices.Concat([]byte{0x1c}, make([]byte, 30)),
		"many empty pings": []byte(strings.Repeat("\x01", 1200)),
	} {
		if names, _ := follow(seal(1, id, 0, frames)); len(names) != 0 {
			t.Errorf("%s: %q", name, names)
		}
	}
	many := make([][]byte, maxPackets+1)
	for i := range many {
		many[i] = []byte{0x40}
	}
	if _, next := follow(many...); next != app.Done {
		t.Error("looks at packets without end")
	}
}

// Packets that cannot be decrypted do not make the parser compute keys without end.
func TestKeysAreBounded(t *testing.T) {
	p := QUIC.NewDatagram().(*parser)
	p.Start(app.TestFlow(QUIC, 17, func(*app.Fact) {}))
	bad := seal(1, []byte("12345678"), 0, make([]byte, 30))
	bad[len(bad)-1] ^= 1
	p.Datagram(app.Client, slices.Repeat(bad, 100), 0)
	if p.derived != maxKeys {
		t.Errorf("keys were computed %d times", p.derived)
	}
}

func TestAgreesWithTshark(t *testing.T) {
	for _, file := range []string{
		"benign-quic__zeek__curl-8.1.2-dev-http3-www-google-de.pcap", "benign-quic__zeek__quicv2-http3-443.pcap", "benign-quic__ntop__quic-29.pcap", "benign-quic__ntop__doq.pcapng",
	} {
		t.Run(file, func(t *testing.T) {
			path := apptest.Shared(t, file)
			var have, want []string
			apptest.Run(t, path, []app.Protocol{QUIC}, func(f *app.Fact) {
				if h := f.Body.(*Hello).Client; h != nil {
					have = append(have, fmt.Sprint(f.Flow.Packet, " ", h.ServerName, h.ALPN, len(h.Ciphers), " ", h.JA3))
				} else {
					have = append(have, fmt.Sprint(f.Flow.Packet, " ", f.Body.(*Hello).Server.Cipher))
				}
			})
			for _, row := range apptest.Tshark(t, path, "quic && (tls.handshake.type == 1 || tls.handshake.type == 2)", "frame.number", "tls.handshake.extensions_server_name",
				"tls.handshake.extensions_alpn_str", "tls.handshake.ciphersuite", "tls.handshake.ja3", "tls.handshake.type") {
				if row[5][0] == "1" {
					want = append(want, fmt.Sprint(row[0][0], " ", strings.Join(row[1], ""), row[2], len(row[3]), " ", strings.Join(row[4], "")))
					continue
				}
				n, _ := strconv.ParseUint(row[3][0], 0, 16)
				want = append(want, fmt.Sprint(row[0][0], " ", n))
			}
			if strings.Contains(file, "quic-29") {
				want = want[:2] // after these, the server asked for another hello
			}
			if !slices.Equal(have, want) || len(want) == 0 {
				t.Errorf("have %q\nwant %q", have, want)
			}
		})
	}
}

// This capture has hellos in scattered frames and packets out of order, which tshark 4.0 does not put together.
func TestScatteredHellos(t *testing.T) {
	path := apptest.Shared(t, "benign-quic__ntop__quic_frags_ch_out_of_order_same_packet_craziness.pcapng")
	named, flows := 0, map[uint64]bool{}
	engine := apptest.Run(t, path, []app.Protocol{QUIC}, func(f *app.Fact) {
		if h := f.Body.(*Hello).Client; h != nil && h.ServerName != "" && !h.Damaged {
			named++
		}
		flows[f.Flow.ID] = true
	})
	if named < 10 {
		t.Errorf("%d hellos in %d flows of %v", named, len(flows), engine.Flows())
	}
	t.Log(named, len(flows), engine.Flows())
}

func FuzzDatagram(f *testing.F) {
	id := []byte("12345678")
	apptest.FuzzDatagram(f, QUIC, seal(1, id, 0, frame(0, hello("a"))), seal(0x6b3343cf, id, 0, frame(0, hello("a"))))
}

// FuzzFrames fuzzes what is inside of the encryption, where a fuzzer does not come by itself.
func FuzzFrames(f *testing.F) {
	f.Add(frame(0, hello("a")), frame(5, hello("b")))
	f.Add([]byte("\x02\x05\x00\x01\x00\x00\x00\x06\x00\x01x"), []byte{1, 0, 0x1c})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		p := QUIC.NewDatagram().(*parser)
		p.Start(app.TestFlow(QUIC, 17, func(*app.Fact) {}))
		for _, frames := range [][]byte{a, b} {
			if p.frames(app.Client, frames) && !p.done[app.Client] {
				p.tell(app.Client, 1)
			}
		}
		if len(p.hello[0].b) > maxHello {
			t.Fatalf("%d bytes are kept", len(p.hello[0].b))
		}
	})
}
