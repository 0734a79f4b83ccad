package encrypted

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"forwarder": forwarder, "tunnel": tunnel, "keystrokes": typed, "ports": ports, "quiet": quiet})
}

func inside(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

func outside(last byte) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, last}) }

var publicResolver = netip.AddrFrom4([4]byte{9, 9, 9, 9})

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func short(s string) string { return u16(len(s)) + s }

// greets is a client's hello.
func greets(name string, protocols ...string) string {
	ext := "\x00\x0a" + short(short("\x00\x1d\x00\x17")) + "\x00\x2b" + short("\x02\x03\x04")
	if name != "" {
		ext += "\x00\x00" + short(short("\x00"+short(name)))
	}
	list := ""
	for _, p := range protocols {
		list += string([]byte{byte(len(p))}) + p
	}
	if list != "" {
		ext += "\x00\x10" + short(short(list))
	}
	return handshake(1, u16(0x0303)+strings.Repeat("r", 32)+"\x00"+short("\x13\x01\x13\x02\xc0\x2f")+"\x01\x00"+short(ext))
}

// answers is a server's hello of TLS 1.3, and what it proves in secret.
func answers() string {
	return handshake(2, u16(0x0303)+strings.Repeat("s", 32)+"\x00\x13\x01\x00"+short("\x00\x2b"+short("\x03\x04"))) + sealed(2600)
}

func handshake(kind byte, body string) string {
	return "\x16\x03\x01" + short(string([]byte{kind, byte(len(body) >> 16)})+u16(len(body)&0xffff)+body)
}

// sealed is a record that nobody can read.
func sealed(size int) string { return "\x17\x03\x03" + short(strings.Repeat("?", size)) }

// exchanges begins with hellos and goes on with questions and answers of some sizes, with a pause before each question.
func exchanges(hello string, n int, ask, answer func(i int) int, wait func(i int) time.Duration) []talk.Said {
	out := []talk.Said{talk.Client(hello), talk.Server(answers()), talk.Client(sealed(53))}
	for i := range n {
		out = append(out, talk.Said{Text: sealed(ask(i)), After: wait(i)}, talk.Said{Server: true, Text: sealed(answer(i)), After: 15 * time.Millisecond})
	}
	return out
}

func always(n int) func(int) int { return func(int) int { return n } }

func every(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

// forwarder asks a resolver by its address for a few names.
func forwarder(w *talk.Wire) {
	w.TCP(0, inside(5), publicResolver, 443, exchanges(greets("", "h2", "http/1.1"), 12, always(95), always(210), every(3*time.Second))...)
}

// tunnel carries a session in long questions that never pause.
func tunnel(w *talk.Wire) {
	w.TCP(0, inside(5), publicResolver, 443, exchanges(greets("dns.quad9.net", "h2"), 400, always(420), always(260), every(time.Second))...)
}

// think is how long somebody waits before each key: two or three a second, and now and then some seconds.
func think(i int) time.Duration {
	if i%17 == 0 {
		return time.Duration(3+i%5) * time.Second
	}
	return time.Duration(150+i*37%300) * time.Millisecond
}

// typed is a shell that calls out, through which somebody looks around.
func typed(w *talk.Wire) {
	w.TCP(0, inside(5), outside(9), 8444, exchanges(greets(""), 160, func(i int) int {
		if i%17 == 16 {
			return 700
		}
		return 40
	}, always(33), think)...)
}

func ports(w *talk.Wire) {
	w.TCP(0, inside(5), outside(20), 443, talk.Client("SSH-2.0-OpenSSH_9.2p1\r\n"), talk.Server("SSH-2.0-OpenSSH_9.2p1\r\n"))
	w.TCP(time.Second, inside(5), outside(21), 53, exchanges(greets("www.example.org", "h2"), 2, always(300), always(900), every(time.Second))...)
	for i := range 6 {
		w.TCP(time.Duration(i+2)*time.Second, inside(6), outside(30), 443, exchanges(greets("www.example.org", "h2"), 1, always(300), always(900), every(0))...)
	}
	w.TCP(time.Minute, inside(5), outside(22), 443, talk.Client(strings.Repeat("\x8f\x01\xe7", 60)), talk.Server(strings.Repeat("\x31\xfa\x9c", 90)))
}

// quiet is what looks like it and is none.
func quiet(w *talk.Wire) {
	// A browser asks a resolver that it names, now and then, and a page with many names makes it busy.
	w.TCP(0, inside(5), publicResolver, 443, exchanges(greets("dns.quad9.net", "h2"), 200, always(90), always(468), func(i int) time.Duration {
		if i%40 == 0 {
			return 25 * time.Second
		}
		return 40 * time.Millisecond
	})...)
	// Names over TLS by a system's resolver, by its address.
	w.TCP(time.Second, inside(5), publicResolver, 853, exchanges(greets(""), 30, always(64), always(128), every(2*time.Second))...)
	// Somebody chats with a server that says who it is.
	w.TCP(2*time.Second, inside(6), outside(9), 443, exchanges(greets("chat.example.org", "http/1.1"), 160, always(40), always(33), think)...)
	// A page by its address, and one on a panel's port.
	w.TCP(3*time.Second, inside(6), outside(10), 443, exchanges(greets("", "h2"), 8, always(400), always(9000), every(time.Second))...)
	w.TCP(4*time.Second, inside(6), outside(11), 8443, exchanges(greets("panel.example.org", "h2"), 8, always(400), always(9000), every(time.Second))...)
	// SSH where it belongs, and somebody at the keys of a machine inside.
	w.TCP(5*time.Second, inside(7), outside(12), 22, talk.Client("SSH-2.0-OpenSSH_9.2p1\r\n"), talk.Server("SSH-2.0-OpenSSH_9.2p1\r\n"))
	w.TCP(6*time.Second, inside(7), inside(9), 8444, exchanges(greets(""), 160, always(40), always(33), think)...)
}
