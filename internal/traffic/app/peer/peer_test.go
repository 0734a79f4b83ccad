package peer

import (
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
)

func TestRecognise(t *testing.T) {
	for _, test := range []struct {
		name      string
		recognise app.Recognise
		dir       app.Dir
		text      string
		want      app.Verdict
	}{
		{"subscribe", stratum, app.Client, `{"id": 1, "method": "mining.subscribe", "params": []}` + "\n", app.Sure},
		{"login", stratum, app.Client, `{"method":"login","params":{"login":"4AB","pass":"x","agent":"a"},"id":1}` + "\n", app.Sure},
		{"ether", stratum, app.Client, `{"id":1,"jsonrpc":"2.0","method":"eth_submitLogin","params":["0x1"]}` + "\n", app.Sure},
		{"another call", stratum, app.Client, `{"method":"login","params":{"user":"ada"}}` + "\n", app.No},
		{"unfinished", stratum, app.Client, `{"id": 1, "meth`, app.More},
		{"endless", stratum, app.Client, "{" + strings.Repeat("a", 3000), app.No},
		{"of a server", stratum, app.Server, `{"id":1,"result":true}` + "\n", app.No},
		{"levin", monero, app.Client, levin + "\xe2", app.Sure},
		{"half of levin", monero, app.Client, levin[:5], app.More},
		{"no levin", monero, app.Client, "\x01\x21\x00", app.No},
		{"peers", torrent, app.Client, handshake + "\x00", app.Sure},
		{"hash table", torrentDatagram, app.Client, "d1:ad2:id20:aaaa", app.Sure},
		{"another dictionary", torrentDatagram, app.Client, "d4:spam4:eggse", app.No},
		{"nick", irc, app.Client, "NICK bot1234\r\nUSER a 0 * :a\r\n", app.Sure},
		{"user", irc, app.Client, "USER a 0 * :a b\r\n", app.Sure},
		{"pass", irc, app.Client, "PASS secret\r\nNICK a\r\n", app.Sure},
		{"half", irc, app.Client, "NICK bot", app.More},
		{"cap", irc, app.Client, "CAP LS 302\r\n", app.Sure},
		{"mail", irc, app.Client, "USER ada\r\nPASS x\r\n", app.No},
		{"notice", irc, app.Server, "NOTICE AUTH :*** Looking up your hostname\r\n", app.Sure},
		{"welcome", irc, app.Server, ":irc.example.org 001 bot :Welcome\r\n", app.Sure},
		{"another server", irc, app.Server, ":hello there you\r\n", app.No},
		{"bytes", irc, app.Client, "NICK \x00\r\n", app.No},
	} {
		if have := test.recognise(test.dir, []byte(test.text)); have != test.want {
			t.Errorf("%s: %d, want %d", test.name, have, test.want)
		}
	}
}

func FuzzRecognise(f *testing.F) {
	for _, s := range []string{levin, handshake, tracker, "NICK a\r\n", `{"method":"mining.` + "\n", ":a 001 b\r\n", "PASS\n\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		for _, p := range []app.Protocol{Stratum, Monero, IRC, BitTorrent} {
			p.Stream(app.Client, b)
			p.Stream(app.Server, b)
		}
		BitTorrent.Datagram(app.Client, b)
	})
}
