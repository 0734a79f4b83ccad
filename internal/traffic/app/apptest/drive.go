package apptest

import (
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Said is what one side says in a made-up conversation.
type Said struct {
	Dir     app.Dir
	Text    string
	Missing int // bytes that are lost before it
}

// Client and Server make a Said.
func Client(text string) Said { return Said{Dir: app.Client, Text: text} }

// Server makes a Said of the server.
func Server(text string) Said { return Said{Dir: app.Server, Text: text} }

// Stream drives the protocol's stream parser with a conversation and reports what it wanted at last. Each piece is given
// in parts of at most size bytes, so that a test can show that the parts do not matter.
func Stream(p app.Protocol, size int, emit func(*app.Fact), talk ...Said) app.Next {
	parser := p.NewStream()
	parser.Start(app.TestFlow(p, 6, emit))
	defer parser.Close()
	for _, s := range talk {
		b, missing := []byte(s.Text), s.Missing
		for {
			n := min(size, len(b))
			part := append([]byte(nil), b[:n]...) // so that what a parser keeps wrongly shows
			next := parser.Data(s.Dir, part, missing)
			clear(part)
			if next != app.Continue {
				return next
			}
			if b, missing = b[n:], 0; len(b) == 0 {
				break
			}
		}
	}
	return app.Continue
}

// FuzzStream fuzzes the stream parser and the recogniser of a protocol: directions, parts and holes are the fuzzer's.
func FuzzStream(f *testing.F, p app.Protocol, seeds ...[]Said) {
	f.Helper()
	for _, talk := range seeds {
		var client, server []byte
		for _, s := range talk {
			if s.Dir == app.Client {
				client = append(client, s.Text...)
			} else {
				server = append(server, s.Text...)
			}
		}
		f.Add(client, server, uint16(7), uint16(0))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, step, hole uint16) {
		said := [2][]byte{client, server}
		for d, b := range said {
			if len(b) > 0 {
				p.Stream(app.Dir(d), b)
			}
		}
		facts := 0
		parser := p.NewStream()
		for range 2 { // the second time it is used again
			parser.Start(app.TestFlow(p, 6, func(*app.Fact) { facts++ }))
			next, at := app.Continue, [2]int{}
			for d := app.Dir(0); next == app.Continue && (at[0] < len(client) || at[1] < len(server)); d = 1 - d {
				n := min(len(said[d])-at[d], 1+int(step)%2000)
				if n <= 0 {
					continue
				}
				missing := 0
				if hole > 0 && at[d]%int(hole) == 1 {
					missing = int(hole)
				}
				part := append([]byte(nil), said[d][at[d]:at[d]+n]...)
				next = parser.Data(d, part, missing)
				at[d] += n
			}
			parser.Close()
		}
		if most := 2 * (len(client) + len(server) + 16); facts > most {
			t.Fatalf("%d facts from %d bytes", facts, most)
		}
	})
}

// FuzzDatagram fuzzes the datagram parser and the recogniser of a protocol.
func FuzzDatagram(f *testing.F, p app.Protocol, seeds ...[]byte) {
	f.Helper()
	for _, b := range seeds {
		f.Add(b, b, uint8(0))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, cut uint8) {
		facts := 0
		parser := p.NewDatagram()
		for range 2 {
			parser.Start(app.TestFlow(p, 17, func(*app.Fact) { facts++ }))
			for d, b := range [][]byte{client, server} {
				if len(b) == 0 {
					continue
				}
				p.Datagram(app.Dir(d), b)
				if parser.Datagram(app.Dir(d), append([]byte(nil), b...), int(cut)) != app.Continue {
					break
				}
			}
			parser.Close()
		}
		if facts > 4096 {
			t.Fatalf("%d facts from two datagrams", facts)
		}
	})
}
