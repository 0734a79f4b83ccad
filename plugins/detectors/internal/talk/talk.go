// Package talk writes small captures of conversations with their words, for the cases of detectors that judge what parsers
// understood. Package scenario does so for those that judge flows.
package talk

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"flag"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// Wire collects packets. They are written in the order of their times.
type Wire struct {
	packets []packet
	port    uint16
}

type packet struct {
	at    time.Duration
	bytes []byte
}

// PortsFrom says which port the next client has, and those after it.
func (w *Wire) PortsFrom(port uint16) { w.port = port - firstPort - 1 }

// Said is one message of a conversation.
type Said struct {
	Server bool
	Text   string
	After  time.Duration // a pause before it
}

// Client and Server are what a side says.
func Client(text string) Said { return Said{Text: text} }

// Server is what the server says.
func Server(text string) Said { return Said{Server: true, Text: text} }

const (
	tcp, udp      = 6, 17
	syn, fin, ack = 2, 1, 16
	push          = 8
	step          = 2 * time.Millisecond
	firstPort     = 40000
)

// TCP adds a connection from SYN to FIN in which messages follow each other, and tells when it is over.
func (w *Wire) TCP(at time.Duration, from, to netip.Addr, port uint16, said ...Said) time.Duration {
	w.port++
	c := connection{w: w, at: at, from: netip.AddrPortFrom(from, firstPort+w.port), to: netip.AddrPortFrom(to, port), seq: [2]uint32{1000, 5000}}
	c.segment(0, syn, "")
	c.segment(1, syn|ack, "")
	c.segment(0, ack, "")
	for _, s := range said {
		side := 0
		if s.Server {
			side = 1
		}
		c.at += s.After
		const most = 1400
		for text := s.Text; len(text) > 0; text = text[min(len(text), most):] {
			c.segment(side, push|ack, text[:min(len(text), most)])
		}
	}
	c.segment(0, fin|ack, "")
	c.segment(1, fin|ack, "")
	c.segment(0, ack, "")
	return c.at
}

// UDP adds a question with its answer, which may be missing.
func (w *Wire) UDP(at time.Duration, from, to netip.Addr, port uint16, question, answer string) {
	w.port++
	src, dst := netip.AddrPortFrom(from, firstPort+w.port), netip.AddrPortFrom(to, port)
	w.datagram(at, src, dst, question)
	if answer != "" {
		w.datagram(at+step, dst, src, answer)
	}
}

func (w *Wire) datagram(at time.Duration, from, to netip.AddrPort, text string) {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(text)))
	w.ip(at, from.Addr(), to.Addr(), udp, append(append(b, 0, 0), text...))
}

type connection struct {
	w        *Wire
	at       time.Duration
	from, to netip.AddrPort
	seq      [2]uint32
}

func (c *connection) segment(side int, flags byte, text string) {
	from, to := c.from, c.to
	if side == 1 {
		from, to = to, from
	}
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint32(b, c.seq[side])
	b = binary.BigEndian.AppendUint32(b, c.seq[1-side])
	b = append(b, 5<<4, flags, 0xfa, 0xf0, 0, 0, 0, 0)
	c.w.ip(c.at, from.Addr(), to.Addr(), tcp, append(b, text...))
	c.seq[side] += uint32(len(text))
	if flags&(syn|fin) != 0 {
		c.seq[side]++
	}
	c.at += step
}

func (w *Wire) ip(at time.Duration, from, to netip.Addr, proto byte, body []byte) {
	b := make([]byte, 34, 34+len(body))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45})
	b[22], b[23] = 64, proto
	binary.BigEndian.PutUint16(b[16:], uint16(20+len(body)))
	src, dst := from.As4(), to.As4()
	copy(b[26:], src[:])
	copy(b[30:], dst[:])
	w.packets = append(w.packets, packet{at, append(b, body...)})
}

// pcap writes the capture.
func (w *Wire) pcap() []byte {
	start := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	out := make([]byte, 24)
	binary.LittleEndian.PutUint32(out, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(out[4:], 2)
	binary.LittleEndian.PutUint16(out[6:], 4)
	binary.LittleEndian.PutUint32(out[16:], 65535)
	binary.LittleEndian.PutUint32(out[20:], 1)
	slices.SortStableFunc(w.packets, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	for _, p := range w.packets {
		at := start.Add(p.at)
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Unix()))
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Nanosecond()/1000))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.bytes)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.bytes)))
		out = append(out, p.bytes...)
	}
	return out
}

// Fresh compares the captures of the cases below testdata with what made makes; with -update it writes them.
func Fresh(t *testing.T, made map[string]func(*Wire)) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(made)) {
		w := &Wire{}
		made[name](w)
		file := filepath.Join("testdata", name, "input.pcap")
		if flag.Lookup("update").Value.String() == "true" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, w.pcap(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, w.pcap()) {
			t.Errorf("%s is not what this test makes (%v): run it with -update", file, err)
		}
	}
}
