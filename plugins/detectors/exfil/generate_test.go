package exfil

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/scenario"
	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

// The captures of the cases are made here, so that a case can be read in its source.
func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"mail-drop": mailDrop, "ftp-drop": ftpDrop, "quiet-mail": quietMail, "quiet-files": quietFiles})
	for name, make := range map[string]func(*scenario.Scenario){"upload": upload, "quiet-transfers": quietTransfers} {
		s := scenario.New(time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC))
		make(s)
		file := filepath.Join("testdata", name, "input.pcap")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, s.Pcap(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, s.Pcap()) {
			t.Errorf("%s is not what this test makes (%v): run it with -update", file, err)
		}
	}
}

func host(last byte) netip.Addr    { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }
func outside(last byte) netip.Addr { return netip.AddrFrom4([4]byte{198, 51, 100, last}) }

const (
	segment = 60_000
	mega    = 1 << 20
)

// transfer is a connection in which so much goes there and back.
func transfer(s *scenario.Scenario, at time.Duration, from, to netip.Addr, port uint16, sent, got int) {
	client, server := netip.AddrPortFrom(from, s.Port()), netip.AddrPortFrom(to, port)
	const step = 5 * time.Millisecond
	s.TCP(at, client, server, scenario.SYN, 0, 0)
	s.TCP(at+step, server, client, scenario.SYN|scenario.ACK, 0, 0)
	there, back := uint32(1), uint32(1)
	for at += 2 * step; sent > 0 || got > 0; at += step {
		if n := min(sent, segment); n > 0 {
			s.TCP(at, client, server, scenario.ACK, there, n)
			there, sent = there+uint32(n), sent-n
		}
		if n := min(got, segment); n > 0 {
			s.TCP(at+step/2, server, client, scenario.ACK, back, n)
			back, got = back+uint32(n), got-n
		}
	}
	s.TCP(at, client, server, scenario.FIN|scenario.ACK, there, 0)
	s.TCP(at+step, server, client, scenario.FIN|scenario.ACK, back, 0)
}

// upload is a host that sends files to a server by a protocol of its own.
func upload(s *scenario.Scenario) {
	for i := range 6 {
		transfer(s, time.Duration(i)*time.Minute, host(66), outside(7), 4444, 3*mega, 20_000)
	}
	transfer(s, 0, host(7), outside(8), 443, mega, 3*mega)
}

// quietTransfers are what else moves much.
func quietTransfers(s *scenario.Scenario) {
	transfer(s, 0, host(7), host(20), 22, 12*mega, 10_000)      // a backup within the network
	transfer(s, 0, host(7), outside(1), 4500, 100_000, 12*mega) // a download
	transfer(s, 0, host(8), outside(2), 3478, 6*mega, 5*mega)   // a call
	transfer(s, 0, outside(3), host(21), 8080, 10_000, 12*mega) // a server's answer
	transfer(s, 0, host(9), outside(4), 9418, 2*mega, 50_000)   // a push
	for i := range byte(20) {
		transfer(s, time.Duration(i)*time.Second, host(10), outside(50+i), 51413, mega/2, 10_000) // peers
	}
}

func smtp(said ...string) (out []talk.Said) {
	for i, text := range said {
		if i%2 == 0 {
			out = append(out, talk.Server(text+"\r\n"))
		} else {
			out = append(out, talk.Client(text+"\r\n"))
		}
	}
	return out
}

func mail(hello, from, to, head string) []talk.Said {
	return smtp("220 mail.example.org ESMTP", "EHLO "+hello, "250-mail.example.org\r\n250 AUTH LOGIN", "AUTH LOGIN", "334 VXNlcm5hbWU6", "dQ==", "334 UGFzc3dvcmQ6", "cA==", "235 welcome",
		"MAIL FROM:<"+from+">", "250 ok", "RCPT TO:<"+to+">", "250 ok", "DATA", "354 go on", strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\nTime: 09:12\r\n.", "250 taken", "QUIT", "221 bye")
}

// mailDrop is a program that mails what it found, named after the computer.
func mailDrop(w *talk.Wire) {
	for i, what := range []string{"Recovered Accounts", "Keystrokes", "Screenshot"} {
		w.TCP(time.Duration(i)*10*time.Minute, host(66), outside(25), 587, mail("ANNA-WORK", "logs@example.org", "box@example.net", "From: logs@example.org\nTo: box@example.net\nSubject: anna/ANNA-WORK "+what)...)
	}
}

func store(w *talk.Wire, at time.Duration, from, to netip.Addr, look bool, names ...string) {
	said := smtp("220 files FTP", "USER site@example.org", "331 more", "PASS secret", "230 welcome", "TYPE I", "200 ok")
	ask := func(command, answer string) {
		said = append(said, talk.Client(command+"\r\n"), talk.Server(answer+"\r\n"))
	}
	if look {
		ask("PASV", "227 Entering Passive Mode (198,51,100,21,200,1)")
		ask("LIST", "150 here\r\n226 done")
	}
	for _, name := range names {
		ask("PASV", "227 Entering Passive Mode (198,51,100,21,200,2)")
		ask("STOR "+name, "150 go on\r\n226 done")
	}
	w.TCP(at, from, to, 21, said...)
}

// ftpDrop stores such things.
func ftpDrop(w *talk.Wire) {
	for i := range 4 {
		store(w, time.Duration(i)*20*time.Minute, host(66), outside(21), false, fmt.Sprintf("anna-DESKTOP-7QK2M9A_2026_03_02_08_%02d.html", 20*i%60))
	}
}

// quietMail is mail of people and devices.
func quietMail(w *talk.Wire) {
	person := "From: ada@example.org\nMessage-ID: <1@ada>\nUser-Agent: Mail 1\nTo: bob@example.net\nSubject: "
	for i, subject := range []string{"Re: PO-2026 and ISO-CERTIFICATION", "your new password", "holidays"} {
		w.TCP(time.Duration(i)*time.Minute, host(7), outside(25), 587, mail("ADA-LAPTOP", "ada@example.org", "bob@example.net", person+subject)...)
	}
	device := "From: scanner@example.org\nTo: scanner@example.org\nSubject: Scan 20260302081200"
	for i := range 5 {
		w.TCP(time.Duration(i)*time.Minute, host(8), outside(25), 587, mail("MFP", "scanner@example.org", "scanner@example.org", device)...)
	}
	// A mail server within the network hands on what a device told it, and what it is told stays inside.
	report := "From: backup@example.org\nTo: it@example.org\nSubject: Report of FILESERVER01: passwords expire"
	for i := range 5 {
		w.TCP(time.Duration(i)*time.Minute, host(9), host(25), 25, mail("FILESERVER01", "backup@example.org", "it@example.org", report)...)
		w.TCP(time.Duration(i)*time.Minute+time.Second, host(25), outside(25), 587, mail("FILESERVER01", "backup@example.org", "it@example.org", report)...)
	}
}

// quietFiles are a site that is published, pictures of a camera, and files that stay inside.
func quietFiles(w *talk.Wire) {
	store(w, 0, host(7), outside(21), true, "index.html", "style.css", "www/README", "20260302.html")
	for i := range 10 {
		store(w, time.Duration(i)*time.Minute, host(8), outside(21), false, fmt.Sprintf("cam-FRONTDOOR_202603020%d0000.jpg", i))
		store(w, time.Duration(i)*time.Minute+time.Second, host(9), host(21), false, "anna-DESKTOP-7QK2M9A_passwords.html")
	}
}
