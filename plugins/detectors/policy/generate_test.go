package policy

import (
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"logins": logins, "old": old, "some-kinds": both, "quiet": quiet})
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

var c, s = talk.Client, talk.Server

func ftp(user, password string) []talk.Said {
	return []talk.Said{s("220 ready\r\n"), c("USER " + user + "\r\n"), s("331 password\r\n"), c("PASS " + password + "\r\n"), s("230 welcome\r\n"), c("QUIT\r\n"), s("221 bye\r\n")}
}

func web(header string) []talk.Said {
	return []talk.Said{c("GET / HTTP/1.1\r\nHost: www.example.org\r\n" + header + "\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}
}

func secret(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// logins are of all protocols; each secret is the same word.
func logins(w *talk.Wire) {
	const word = "hunter2hunter2"
	w.TCP(0, host(5), host(20), 21, ftp("ada", word)...)
	w.TCP(time.Second, host(6), host(20), 21, ftp("bob", word)...)
	w.TCP(2*time.Second, host(6), host(20), 21, ftp("bob", word)...)
	for i := range 5 {
		w.TCP(time.Duration(10+i)*time.Second, host(5), host(21), 80, web("Authorization: Basic "+secret("ada:"+word)+"\r\n")...)
	}
	w.TCP(20*time.Second, host(5), host(21), 80, web("Authorization: Bearer "+word+"\r\n")...)
	w.TCP(30*time.Second, host(5), host(22), 110, s("+OK ready\r\n"), c("USER ada\r\n"), s("+OK\r\n"), c("PASS "+word+"\r\n"), s("+OK mailbox\r\n"), c("QUIT\r\n"), s("+OK bye\r\n"))
	w.TCP(40*time.Second, host(5), host(22), 143, s("* OK ready\r\n"), c("a1 LOGIN ada "+word+"\r\n"), s("a1 OK done\r\n"), c("a2 LOGOUT\r\n"), s("* BYE\r\na2 OK\r\n"))
	w.TCP(50*time.Second, host(5), host(22), 25, s("220 mail ESMTP\r\n"), c("EHLO x\r\n"), s("250-mail\r\n250 AUTH PLAIN LOGIN\r\n"), c("AUTH PLAIN "+secret("\x00ada\x00"+word)+"\r\n"), s("235 done\r\n"), c("QUIT\r\n"), s("221 bye\r\n"))
	w.TCP(60*time.Second, host(5), host(23), 389, c(tlv(0x30, "\x02\x01\x01", tlv(0x60, "\x02\x01\x03", tlv(4, "cn=ada"), tlv(0x80, word)))),
		s(tlv(0x30, "\x02\x01\x01", tlv(0x61, "\x0a\x01\x00\x04\x00\x04\x00"))))
	w.TCP(70*time.Second, host(5), host(24), 23, s("\xff\xfd\x18\xff\xfb\x01login: "), c("\xff\xfc\x18ada\r\n"), s("Password: "), c(word+"\r\n"), s("\r\nWelcome\r\n$ "))
}

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	return string([]byte{tag, byte(len(body))}) + body
}

// snmpMessage is one of version 1 or 2c; kind is 0xa0 for a question and 0xa2 for an answer.
func snmpMessage(version byte, community string, kind byte) string {
	variable := tlv(0x30, tlv(0x30, tlv(6, "\x2b\x06\x01\x02\x01\x01\x05\x00"), tlv(4, "device")))
	return tlv(0x30, tlv(2, string([]byte{version})), tlv(4, community), tlv(kind, tlv(2, "\x07"), tlv(2, "\x00"), tlv(2, "\x00"), variable))
}

// smb1Message is one of SMB 1 in its frame.
func smb1Message(command, flags byte, words, bytes string) string {
	b := "\xffSMB" + string([]byte{command, 0, 0, 0, 0, flags}) + strings.Repeat("\x00", 22)
	b += string([]byte{byte(len(words) / 2)}) + words + string(binary.LittleEndian.AppendUint16(nil, uint16(len(bytes)))) + bytes
	return string([]byte{0, 0, byte(len(b) >> 8), byte(len(b))}) + b
}

func old(w *talk.Wire) {
	for i, community := range []string{"public", "private", "not for everybody"} {
		w.UDP(time.Duration(i)*time.Second, host(5), host(byte(30+i)), 161, snmpMessage(byte(i%2), community, 0xa0), snmpMessage(byte(i%2), community, 0xa2))
	}
	negotiated := "\x00\x00\x03\x0a\x00\x01\x00\x04\x11\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\xfd\xf3\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	w.TCP(10*time.Second, host(5), host(33), 445, c(smb1Message(0x72, 0, "", "\x02NT LM 0.12\x00")), s(smb1Message(0x72, 0x80, negotiated, "12345678")),
		c(smb1Message(0x73, 0, "\xff\x00\x00\x00\x00\x44\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "ada\x00")), s(smb1Message(0x73, 0x80, "\xff\x00\x00\x00\x00\x00", "Unix\x00")))
	w.TCP(20*time.Second, host(5), host(34), 22, s("SSH-1.5-1.2.27\r\n"), c("SSH-1.5-OpenSSH_3.4\r\n"))
	w.TCP(30*time.Second, host(5), host(35), 23, s("\xff\xfd\x18\xff\xfb\x01menu> "), c("\xff\xfc\x18"), s("\r\nmenu> "), c("1\r\n"))
}

func both(w *talk.Wire) {
	logins(w)
	old(w)
	w.TCP(200*time.Second, host(5), netip.MustParseAddr("203.0.113.53"), 853, c(clientHello("")))
	w.TCP(210*time.Second, host(6), netip.MustParseAddr("203.0.113.54"), 443, c(clientHello("dns.quad9.net")))
	w.TCP(220*time.Second, host(6), host(53), 853, c(clientHello("")))
}

func u16(n int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(n))) }

func clientHello(name string) string {
	ext := ""
	if name != "" {
		ext = "\x00\x00" + u16(len(name)+5) + u16(len(name)+3) + "\x00" + u16(len(name)) + name
	}
	body := "\x03\x03" + strings.Repeat("r", 32) + "\x00\x00\x02\x13\x01\x01\x00" + u16(len(ext)) + ext
	message := "\x01\x00" + u16(len(body)) + body
	return "\x16\x03\x01" + u16(len(message)) + message
}

// quiet is what is as it should be.
func quiet(w *talk.Wire) {
	w.TCP(0, host(5), host(20), 21, ftp("anonymous", "someone@example.org")...)
	w.TCP(time.Second, host(5), host(20), 80, web("")...)
	w.TCP(2*time.Second, host(5), host(20), 80, web(`Authorization: Digest username="ada", realm="x", nonce="y", response="z"`+"\r\n")...)
	w.TCP(3*time.Second, host(5), host(22), 25, s("220 mail ESMTP\r\n"), c("EHLO x\r\n"), s("250-mail\r\n250 STARTTLS\r\n"), c("STARTTLS\r\n"), s("220 go on\r\n"), c(clientHello("mail.example.org")))
	w.UDP(4*time.Second, host(5), host(30), 161, snmpMessage(1, "public", 0xa0), "") // nobody answers
	w.TCP(5*time.Second, host(5), host(34), 22, s("SSH-2.0-OpenSSH_9.6\r\n"), c("SSH-2.0-OpenSSH_9.6\r\n"))
	w.TCP(6*time.Second, host(5), host(34), 2222, s("SSH-1.99-device\r\n"), c("SSH-2.0-OpenSSH_9.6\r\n"))
	w.TCP(7*time.Second, host(5), netip.MustParseAddr("203.0.113.53"), 853, c(clientHello(""))) // nobody wants to know
	w.TCP(8*time.Second, host(5), host(36), 514, c("<13>a line of syslog\n"), s("ok"))          // from a port of everybody
}
