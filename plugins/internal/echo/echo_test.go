package echo

import "testing"

func FuzzParseReply(f *testing.F) {
	e := New(nil, "ip4")
	packet, err := e.request(7)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packet, false)
	packet[0] = 0 // an answer
	f.Add(packet, false)
	f.Add([]byte{129, 0}, true)
	f.Fuzz(func(t *testing.T, packet []byte, six bool) {
		family := "ip4"
		if six {
			family = "ip6"
		}
		if _, ok := parseReply(family, packet, e.token); ok && len(packet) < 8+payloadLen {
			t.Errorf("%x was taken for an answer", packet)
		}
	})
}
