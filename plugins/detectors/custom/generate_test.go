package custom

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"found": found, "silent": silent, "no-rules": found})
}

// question is a DNS message that asks for the TXT records of a name.
func question(name string) string {
	b := []byte{0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return string(append(b, 0, 0, 16, 0, 1))
}

// refusal is the answer that there is no such name.
func refusal(name string) string {
	b := []byte(question(name))
	binary.BigEndian.PutUint16(b[2:], 0x8183)
	return string(b)
}

func page(target, agent string) []talk.Said {
	return []talk.Said{talk.Client("GET " + target + " HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: " + agent + "\r\n\r\n"),
		talk.Server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")}
}

// found has something for each rule of config.json.
func found(w *talk.Wire) {
	silent(w)
	resolver, web := host(1), netip.AddrFrom4([4]byte{192, 0, 2, 80})
	for i := range 25 {
		name := fmt.Sprintf("n%d.t.evil.example", i)
		w.UDP(time.Duration(i)*2*time.Second, host(66), resolver, 53, question(name), refusal(name))
	}
	for i := range 3 {
		w.TCP(time.Duration(100+i)*time.Second, host(67), web, 80, page("/Admin/users", "curl/8.5.0")...)
	}
	for i := range 12 {
		w.TCP(time.Duration(200+i)*time.Second, host(68), host(byte(100+i)), 2222, talk.Client("hello\n"), talk.Server("hello\n"))
	}
}

// silent is much of the same, and not enough.
func silent(w *talk.Wire) {
	resolver, web := host(1), netip.AddrFrom4([4]byte{192, 0, 2, 80})
	for i := range 25 {
		name := fmt.Sprintf("www%d.example.org", i)
		w.UDP(time.Duration(i)*2*time.Second, host(7), resolver, 53, question(name), refusal(name))
	}
	for i := range 10 {
		name := fmt.Sprintf("n%d.t.evil.example", i%4)
		w.UDP(time.Duration(i)*time.Minute, host(8), resolver, 53, question(name), "")
	}
	w.TCP(90*time.Second, netip.AddrFrom4([4]byte{10, 20, 0, 4}), web, 80, page("/admin/", "curl/8.5.0")...)
	w.TCP(95*time.Second, host(7), web, 80, page("/administration.html", "Mozilla/5.0")...)
	for i := range 5 {
		w.TCP(time.Duration(200+i)*time.Second, host(7), host(byte(100+i)), 2222, talk.Client("hello\n"), talk.Server("hello\n"))
	}
}
