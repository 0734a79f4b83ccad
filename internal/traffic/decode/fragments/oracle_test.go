package fragments

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/ip4defrag"
	"github.com/gopacket/gopacket/layers"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
)

// Of each shared capture with IPv4 fragments, gopacket joins the same datagrams at the same packets.
func TestJoinsLikeGopacket(t *testing.T) {
	files, _ := filepath.Glob("../../../../../shared/pcaps/*.*cap*")
	if len(files) == 0 {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	compared := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := capture.Open(f)
		if err != nil {
			continue // damaged from the start
		}
		table := New(Config{}, func(uint64, int64, *decode.Packet) error { return nil })
		theirs := ip4defrag.NewIPv4Defragmenter()
		var p capture.Packet
		for r.Next(&p) == nil {
			var d decode.Packet
			if outcome := decode.Decode(&d, p.Link, p.Data, p.Length); outcome > decode.Fragment || !d.Part.Is || p.Link != capture.LinkEthernet {
				continue
			}
			ip, ok := gopacket.NewPacket(bytes.Clone(p.Data), layers.LinkTypeEthernet, gopacket.Default).Layer(layers.LayerTypeIPv4).(*layers.IPv4)
			if !ok {
				continue
			}
			whole, err := table.Add(p.Number, p.Time, &d, p.Data)
			if err != nil {
				t.Fatal(err)
			}
			joined, err := theirs.DefragIPv4(ip)
			switch {
			case err != nil:
				// It refuses what it calls too small or too long; nothing to compare.
			case (joined == nil) != (whole == nil):
				t.Errorf("%s, packet %d: joined %v, gopacket %v", filepath.Base(file), p.Number, whole != nil, joined != nil)
			case joined != nil && !bytes.Equal(whole[20:], joined.Payload):
				t.Errorf("%s, packet %d: %d bytes, gopacket %d, or others", filepath.Base(file), p.Number, len(whole)-20, len(joined.Payload))
			case joined != nil:
				compared++
			}
		}
	}
	if compared < 10 {
		t.Errorf("only %d datagrams were compared", compared)
	}
}
