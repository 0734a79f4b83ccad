// Package peer recognises what miners, chat programs and their like speak: Stratum, the peers of Monero (Levin), IRC (RFC 2812) and
// BitTorrent (BEP 3, 5, 15). Nothing of it is read; a flow has its name.
package peer

import (
	"bytes"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// The protocols.
var (
	Stratum    = app.Protocol{Name: "stratum", First: "{", Stream: stratum}
	Monero     = app.Protocol{Name: "monero", First: levin[:1], Stream: monero}
	IRC        = app.Protocol{Name: "irc", First: ":NPUC", Stream: irc}
	BitTorrent = app.Protocol{Name: "bittorrent", First: handshake[:1] + "d\x00", Stream: torrent, Datagram: torrentDatagram}
)

// The marks that messages begin with.
const (
	levin     = "\x01\x21\x01\x01\x01\x01\x01\x01"
	handshake = "\x13BitTorrent protocol"
	tracker   = "\x00\x00\x04\x17\x27\x10\x19\x80\x00\x00\x00\x00"
)

func starts(b []byte, mark string) app.Verdict {
	n := min(len(b), len(mark))
	switch {
	case string(b[:n]) != mark[:n]:
		return app.No
	case n < len(mark):
		return app.More
	}
	return app.Sure
}

func monero(_ app.Dir, b []byte) app.Verdict { return starts(b, levin) }

func torrent(_ app.Dir, b []byte) app.Verdict { return starts(b, handshake) }

func torrentDatagram(_ app.Dir, b []byte) app.Verdict {
	for _, mark := range []string{"d1:ad2:id20:", "d1:rd2:id20:", tracker} {
		if bytes.HasPrefix(b, []byte(mark)) {
			return app.Sure
		}
	}
	return app.No
}

// longestLine is how much of a line that does not end is waited for.
const longestLine = 2048

// line returns the first line, without its end.
func line(b []byte) (first, rest []byte, whole bool) {
	first, rest, whole = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(first, []byte("\r")), rest, whole
}

// unfinished is the verdict on a line that may go on.
func unfinished(b []byte) app.Verdict {
	if len(b) < longestLine {
		return app.More
	}
	return app.No
}

// stratum wants a call of a pool's methods in the first line of the client.
func stratum(d app.Dir, b []byte) app.Verdict {
	first, _, whole := line(b)
	if d == app.Server {
		return app.No
	}
	if len(first) > longestLine {
		return app.No
	}
	tight := bytes.ReplaceAll(first, []byte(" "), nil)
	has := func(text string) bool { return bytes.Contains(tight, []byte(text)) }
	switch {
	case has(`"method":"mining.`), has(`"method":"eth_submitLogin"`), has(`"method":"eth_getWork"`),
		has(`"method":"login"`) && has(`"login":`) && has(`"pass":`):
		return app.Sure
	case !whole:
		return unfinished(b)
	}
	return app.No
}

// irc wants the registration of a client, or what servers say before and after it.
func irc(d app.Dir, b []byte) app.Verdict {
	first, rest, whole := line(b)
	if d == app.Client && whole && len(rest) > 0 && bytes.HasPrefix(first, []byte("PASS ")) {
		first, _, whole = line(rest)
	}
	words := bytes.SplitN(first, []byte(" "), 6)
	switch {
	case !printable(first):
		return app.No
	case !whole:
		return unfinished(b)
	case d == app.Server:
		if len(words) >= 3 && (string(words[0]) == "NOTICE" && len(words[2]) > 1 && words[2][0] == ':' ||
			first[0] == ':' && (string(words[1]) == "NOTICE" || number(words[1]))) {
			return app.Sure
		}
		return app.No
	}
	switch string(words[0]) {
	case "NICK":
		if len(words) == 2 || len(words) == 3 {
			return app.Sure
		}
	case "USER":
		if len(words) >= 5 {
			return app.Sure
		}
	case "CAP":
		if len(words) >= 2 && (string(words[1]) == "LS" || string(words[1]) == "REQ") {
			return app.Sure
		}
	case "PASS":
		if len(words) == 2 {
			return app.More
		}
	}
	return app.No
}

func number(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) == 3
}

// printable reports whether there is text.
func printable(b []byte) bool {
	for _, c := range b {
		if c == 0 {
			return false
		}
	}
	return len(b) > 0
}
