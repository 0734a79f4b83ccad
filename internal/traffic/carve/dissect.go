package carve

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// Names of what is no header.
const (
	payloadName = "Payload"
	paddingName = "Padding"
)

// Dissect reads the headers of a packet from the outside in, with where each value stands. What flows are made of comes from
// package decode; this reads the same bytes once more, for people, and stops at the first thing that is wrong.
func Dissect(p *capture.Packet) carved.DecodedPacket {
	var sum decode.Packet
	outcome := decode.Decode(&sum, p.Link, p.Data, p.Length)
	d := &dissector{data: p.Data, end: len(p.Data)}
	for next := first(p.Link); next != nil && len(d.layers) < carved.MaxLayers-2; {
		next = next(d)
	}
	d.rest()
	out := carved.DecodedPacket{
		Number: p.Number, Time: time.Unix(0, p.Time).UTC(), Direction: "none", Length: p.Length, Captured: uint32(len(p.Data)),
		Payload: sum.Payload, Protocol: d.protocol(), Hex: hex.EncodeToString(p.Data[:min(len(p.Data), carved.MaxBytes)]), Layers: d.layers,
	}
	if outcome == decode.Flow || outcome == decode.Fragment {
		out.Src, out.Dst = endpoint(&sum, sum.SrcAddr(), sum.SrcPort), endpoint(&sum, sum.DstAddr(), sum.DstPort)
	}
	if sum.Proto == sdk.ProtoTCP && outcome == decode.Flow {
		out.Flags = tcpFlags(sum.Flags)
	}
	return out
}

// endpoint is an address, with its port where the protocol has ports.
func endpoint(p *decode.Packet, a netip.Addr, port uint16) string {
	switch p.Proto {
	case sdk.ProtoTCP, sdk.ProtoUDP, protoSCTP:
		if port != 0 {
			return netip.AddrPortFrom(a, port).String()
		}
	}
	return a.String()
}

// dissector is at one place of a packet. Layers append themselves and say what comes next.
type dissector struct {
	data    []byte
	at, end int // of what is not read yet
	layers  []carved.DecodedLayer
	src     uint16 // ports of the last transport header
	dst     uint16
}

// step reads one layer and returns how to read the next, nil when what remains is payload.
type step func(*dissector) step

// left is what is not read yet.
func (d *dissector) left() []byte { return d.data[d.at:d.end] }

// open begins a layer of at least size bytes and returns them; nil when they are not there.
func (d *dissector) open(name string, size int) []byte {
	l := carved.DecodedLayer{Name: name, Offset: d.at, Fields: []carved.DecodedField{}}
	b := d.left()
	if len(b) < size {
		l.Length = len(b)
		l.Error = fmt.Sprintf("cut off: %d of at least %d bytes are there", len(b), size)
		d.layers = append(d.layers, l)
		d.at = d.end
		return nil
	}
	l.Length = size
	d.layers = append(d.layers, l)
	return b
}

func (d *dissector) layer() *carved.DecodedLayer { return &d.layers[len(d.layers)-1] }

// field notes a value of the open layer; offset counts from its begin. What lies beyond the packet is left out.
func (d *dissector) field(name string, offset, length int, format string, args ...any) {
	l := d.layer()
	if len(l.Fields) == carved.MaxFields || d.at+offset+length > d.end {
		return
	}
	l.Fields = append(l.Fields, carved.DecodedField{Name: name, Value: bounded(fmt.Sprintf(format, args...)), Offset: d.at + offset, Length: length})
}

// close ends the open layer after size bytes, which must be there.
func (d *dissector) close(size int) bool {
	if size < d.layer().Length || size > d.end-d.at {
		d.fail("its length of %d bytes cannot be right: %d are there", size, d.end-d.at)
		return false
	}
	d.layer().Length = size
	d.at += size
	return true
}

func (d *dissector) fail(format string, args ...any) {
	d.layer().Error = bounded(fmt.Sprintf(format, args...))
	d.at += d.layer().Length
}

// clip ends the packet where a header says that it ends.
func (d *dissector) clip(length int) {
	if d.at+length < d.end {
		d.end = d.at + length
	}
}

// rest is what no layer read: the payload, and behind its end the padding.
func (d *dissector) rest() {
	if d.at < d.end {
		d.layers = append(d.layers, carved.DecodedLayer{Name: payloadName, Offset: d.at, Length: d.end - d.at, Fields: []carved.DecodedField{}})
	}
	if d.end < len(d.data) {
		d.layers = append(d.layers, carved.DecodedLayer{Name: paddingName, Offset: d.end, Length: len(d.data) - d.end, Fields: []carved.DecodedField{}})
	}
}

// protocol is the innermost layer that has a name of its own.
func (d *dissector) protocol() string {
	for i := len(d.layers) - 1; i >= 0; i-- {
		if name := d.layers[i].Name; name != payloadName && name != paddingName {
			return name
		}
	}
	return "unknown"
}

// bounded is a text that a page can show: valid, without control characters, not too long.
func bounded(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return '.'
		}
		return r
	}, strings.ToValidUTF8(text, "."))
	if len(text) <= carved.MaxText {
		return text
	}
	cut := carved.MaxText - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

func u16(b []byte) uint16 { return binary.BigEndian.Uint16(b) }
func u32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

func mac(b []byte) string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4], b[5])
}

// named is a number with what it stands for.
func named[N uint8 | uint16 | uint32](n N, names map[N]string) string {
	if name, ok := names[n]; ok {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return fmt.Sprint(n)
}

// bits are the names of the bits that are set, from the lowest.
func bits(n uint, names ...string) string {
	var set []string
	for i, name := range names {
		if n>>i&1 != 0 && name != "" {
			set = append(set, name)
		}
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, " ")
}
