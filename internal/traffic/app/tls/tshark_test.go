package tls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// TestAgreesWithTshark compares hellos and certificates of the captures with what tshark reads.
func TestAgreesWithTshark(t *testing.T) {
	files := map[string]int{
		"benign-tls__zeek__tls13-ech.pcap": 2, "benign-tls__zeek__chrome-1250-tls-x25519-kyber.pcap": 2, "benign-tls__zeek__tls-expired-cert.pcap": 2,
		"benign-web__ntop__443-firefox.pcap": 2, "benign-web__FoxIOLLC__browsers-x509.pcapng": 6, "benign-dns__ntop__dns_doh.pcap": 2,
		"benign-dns__ntop__dns_dot.pcap": 2, "atk-c2__ntop__emotet.pcap": 2, "atk-anon__ntop__tor.pcap": 4,
		"atk-exploit__zeek__heartbleed-success.pcap": 2,
	}
	for file, least := range files {
		t.Run(file, func(t *testing.T) { compare(t, apptest.Shared(t, file), least) })
	}
}

func compare(t *testing.T, path string, least int) {
	t.Helper()
	var have, want []string
	apptest.Run(t, path, []app.Protocol{TLS()}, func(f *app.Fact) {
		frame := strconv.FormatUint(f.Flow.Packet, 10)
		switch m := f.Body.(type) {
		case *ClientHello:
			have = append(have, fmt.Sprint(frame, " 1 ", m.Legacy, m.ServerName, m.ALPN, len(m.Ciphers), decimals(m.Extensions), m.JA3))
		case *ServerHello:
			have = append(have, fmt.Sprint(frame, " 2 ", m.Cipher, decimals(m.Extensions), m.JA3S))
		}
	})
	for _, row := range apptest.Tshark(t, path, "tls.handshake.type == 1 || tls.handshake.type == 2", "frame.number", "tls.handshake.type", "tls.handshake.version",
		"tls.handshake.extensions_server_name", "tls.handshake.extensions_alpn_str", "tls.handshake.ciphersuite", "tls.handshake.extension.type", "tls.handshake.ja3", "tls.handshake.ja3s") {
		switch {
		case len(row[7]) > 0:
			want = append(want, fmt.Sprint(row[0][0], " 1 ", number(row[2][0]), strings.Join(row[3], ""), row[4], len(row[5]), decimalsOf(row[6]), row[7][0]))
		case len(row[8]) > 0:
			want = append(want, fmt.Sprint(row[0][0], " 2 ", number(row[5][0]), decimalsOf(row[6]), row[8][0]))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	if len(want) < least {
		t.Errorf("%d hellos were compared", len(want))
	}
	t.Logf("%d hellos compared", len(want))
}

func number(text string) uint64 {
	n, _ := strconv.ParseUint(text, 0, 32)
	return n
}

func decimals(list []uint16) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, strconv.Itoa(int(v)))
	}
	return out
}

func decimalsOf(list []string) []string {
	out := []string{}
	for _, v := range list {
		out = append(out, strconv.FormatUint(number(v), 10))
	}
	return out
}
