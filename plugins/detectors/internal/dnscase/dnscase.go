// Package dnscase makes the captures of the cases of detectors that are shown DNS messages or pings.
//
// In go questions, answers and pings with their times, out comes a pcap file. The same calls give the same bytes, which
// Check compares with what is committed.
package dnscase

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// Types of questions.
const (
	A     = 1
	NS    = 2
	CNAME = 5
	NULL  = 10
	PTR   = 12
	MX    = 15
	TXT   = 16
	AAAA  = 28
	SRV   = 33
	HTTPS = 65
	ANY   = 255
)

// Codes of answers.
const (
	NoError  = 0
	ServFail = 2
	NXDomain = 3
)

// Record is one record of an answer, whose owner is the name that was asked for, or Name.
type Record struct {
	Name string
	Type uint16
	TTL  uint32
	Data []byte
}

// Capture collects packets. They are written in the order of their times.
type Capture struct {
	packets []packet
	id      uint16
}

type packet struct {
	at   time.Duration
	data []byte
}

// Exchange is a question and its answer.
type Exchange struct {
	Client, Server netip.Addr
	Port           uint16 // of the client, any when 0
	Name           string
	Type           uint16
	Code           uint8 // of the answer
	Answers        []Record
	Unheard        bool // there is no answer
	Unasked        bool // there is no question
	Resolver       bool // the client is a resolver: it does not ask for recursion
}

// Ask adds an exchange, whose answer comes 10 ms later.
func (c *Capture) Ask(at time.Duration, e Exchange) {
	c.id++
	port := cmp.Or(e.Port, 20000+c.id%40000)
	if !e.Unasked {
		c.udp(at, e.Client, port, e.Server, 53, c.message(&e, false))
	}
	if !e.Unheard {
		c.udp(at+10*time.Millisecond, e.Server, 53, e.Client, port, c.message(&e, true))
	}
}

func (c *Capture) message(e *Exchange, response bool) []byte {
	flags := uint16(0x0100)
	if e.Resolver {
		flags = 0
	}
	answers := e.Answers
	if response {
		flags |= 0x8080 | uint16(e.Code)
	} else {
		answers = nil
	}
	b := binary.BigEndian.AppendUint16(nil, c.id)
	for _, v := range []uint16{flags, 1, uint16(len(answers)), 0, 0} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, Name(e.Name)...)
	b = binary.BigEndian.AppendUint16(b, e.Type)
	b = binary.BigEndian.AppendUint16(b, 1)
	for _, r := range answers {
		if r.Name == "" {
			b = append(b, 0xc0, 12)
		} else {
			b = append(b, Name(r.Name)...)
		}
		b = binary.BigEndian.AppendUint16(b, r.Type)
		b = binary.BigEndian.AppendUint16(b, 1)
		b = binary.BigEndian.AppendUint32(b, r.TTL)
		b = binary.BigEndian.AppendUint16(b, uint16(len(r.Data)))
		b = append(b, r.Data...)
	}
	return b
}

// Name is a name as it stands in a message.
func Name(name string) []byte {
	var b []byte
	for label := range strings.SplitSeq(name, ".") {
		b = append(append(b, byte(len(label))), label...)
	}
	return append(b, 0)
}

// Text is the data of a TXT record.
func Text(s string) []byte {
	var b []byte
	for piece := range slices.Chunk([]byte(s), 255) {
		b = append(append(b, byte(len(piece))), piece...)
	}
	return b
}

// Address is the data of an A or AAAA record.
func Address(a netip.Addr) Record {
	r := Record{Type: A, TTL: 300, Data: a.AsSlice()}
	if a.Is6() {
		r.Type = AAAA
	}
	return r
}

// Ping adds an echo request or an answer to one.
func (c *Capture) Ping(at time.Duration, from, to netip.Addr, reply bool, sequence uint16, content []byte) {
	b := []byte{8, 0, 0, 0, 0x12, 0x34}
	if reply {
		b[0] = 0
	}
	b = binary.BigEndian.AppendUint16(b, sequence)
	c.ip(at, from, to, 1, append(b, content...))
}

func (c *Capture) udp(at time.Duration, from netip.Addr, fromPort uint16, to netip.Addr, toPort uint16, payload []byte) {
	b := binary.BigEndian.AppendUint16(nil, fromPort)
	b = binary.BigEndian.AppendUint16(b, toPort)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	c.ip(at, from, to, 17, append(append(b, 0, 0), payload...))
}

func (c *Capture) ip(at time.Duration, from, to netip.Addr, proto byte, body []byte) {
	b := make([]byte, 34, 34+len(body))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45})
	binary.BigEndian.PutUint16(b[16:], uint16(20+len(body)))
	b[22], b[23] = 64, proto
	src, dst := from.As4(), to.As4()
	copy(b[26:], src[:])
	copy(b[30:], dst[:])
	c.packets = append(c.packets, packet{at, append(b, body...)})
}

// Pcap writes the capture.
func (c *Capture) Pcap() []byte {
	start := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	out := make([]byte, 24)
	binary.LittleEndian.PutUint32(out, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(out[4:], 2)
	binary.LittleEndian.PutUint16(out[6:], 4)
	binary.LittleEndian.PutUint32(out[16:], 65535)
	binary.LittleEndian.PutUint32(out[20:], 1)
	slices.SortStableFunc(c.packets, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	for _, p := range c.packets {
		at := start.Add(p.at)
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Unix()))
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Nanosecond()/1000))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.data)))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.data)))
		out = append(out, p.data...)
	}
	return out
}

// Check compares the captures of the cases below testdata with what is committed; with PICKET_UPDATE=1 it writes them.
func Check(t *testing.T, captures map[string]func(*Capture)) {
	t.Helper()
	for name, play := range captures {
		c := &Capture{}
		play(c)
		file := filepath.Join("testdata", name, "input.pcap")
		if os.Getenv("PICKET_UPDATE") != "" {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, c.Pcap(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, c.Pcap()) {
			t.Errorf("%s is not what its source makes; run PICKET_UPDATE=1 go test", file)
		}
	}
}
