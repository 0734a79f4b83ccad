package ot

import (
	"bytes"
	"encoding/binary"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// made makes the input of every case, by folder.
var made = map[string]func(*wire){
	"quiet":        polling,
	"plant":        plant,
	"injected":     injected,
	"program":      program,
	"probe":        probe,
	"masters":      injected,
	"new-address":  newAddress,
	"bacnet-reset": bacnetReset,
}

// TestCapturesAreFresh compares the captures of the cases with what this file makes; with -update it writes them.
func TestCapturesAreFresh(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(made)) {
		w := &wire{}
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

// wire writes packets. Host n has the address 10.0.0.n and the card 02:00:00:00:00:n.
type wire struct {
	frames []frame
	port   uint16
}

type frame struct {
	at    float64 // seconds
	bytes []byte
}

func (w *wire) ether(at float64, from, to byte, kind uint16, body []byte) {
	b := []byte{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from}
	b = binary.BigEndian.AppendUint16(b, kind)
	w.frames = append(w.frames, frame{at, append(b, body...)})
}

func (w *wire) ip(at float64, from, to, proto byte, body []byte) {
	b := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, 10, 0, 0, from, 10, 0, 0, to}
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+len(body)))
	w.ether(at, from, to, 0x0800, append(b, body...))
}

func (w *wire) udp(at float64, from, to byte, port uint16, body string) {
	b := binary.BigEndian.AppendUint16(nil, port)
	b = binary.BigEndian.AppendUint16(b, port)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(body)))
	w.ip(at, from, to, 17, append(append(b, 0, 0), body...))
}

// connection is a TCP connection.
type connection struct {
	w              *wire
	client, server byte
	ports          [2]uint16
	seq            [2]uint32
}

const (
	syn = 2
	psh = 8
	ack = 16
)

func (w *wire) connect(at float64, client, server byte, port uint16) *connection {
	w.port++
	c := &connection{w: w, client: client, server: server, ports: [2]uint16{40000 + w.port, port}}
	c.segment(at, 0, syn, "")
	c.seq[0]++
	c.segment(at+0.0001, 1, syn|ack, "")
	c.seq[1]++
	c.segment(at+0.0002, 0, ack, "")
	return c
}

func (c *connection) segment(at float64, by int, flags byte, body string) {
	b := binary.BigEndian.AppendUint16(nil, c.ports[by])
	b = binary.BigEndian.AppendUint16(b, c.ports[1-by])
	b = binary.BigEndian.AppendUint32(b, c.seq[by])
	b = binary.BigEndian.AppendUint32(b, c.seq[1-by])
	b = append(b, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	from, to := c.client, c.server
	if by == 1 {
		from, to = to, from
	}
	c.w.ip(at, from, to, 6, append(b, body...))
	c.seq[by] += uint32(len(body))
}

// ask sends a request and its answer.
func (c *connection) ask(at float64, request, answer string) {
	c.segment(at, 0, psh|ack, request)
	if answer != "" {
		c.segment(at+0.001, 1, psh|ack, answer)
	}
}

// pcap writes what was sent, in the order of time.
func (w *wire) pcap() []byte {
	out := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0}
	slices.SortStableFunc(w.frames, func(a, b frame) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	start := time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)
	for _, f := range w.frames {
		at := start.Add(time.Duration(f.at * float64(time.Second)))
		for _, n := range []int{int(at.Unix()), at.Nanosecond() / 1000, len(f.bytes), len(f.bytes)} {
			out = binary.LittleEndian.AppendUint32(out, uint32(n))
		}
		out = append(out, f.bytes...)
	}
	return out
}

// modbus makes a message to or from unit 1.
func modbus(function byte, body string) string {
	return string([]byte{0, 1, 0, 0, 0, byte(2 + len(body)), 1, function}) + body
}

// Hosts of the cases.
const (
	master  = 1
	other   = 66
	station = 20 // and the next one
)

// polling is a master that asks two stations every two seconds.
func polling(w *wire) {
	for n := range byte(2) {
		c := w.connect(float64(n)*0.1, master, station+n, 502)
		for i := range 30 {
			at := 1 + float64(n)*0.1 + 2*float64(i)
			c.ask(at, modbus(3, "\x00\x10\x00\x02"), modbus(3, "\x04\x00\x01\x00\x02"))
			c.ask(at+0.01, modbus(1, "\x00\x00\x00\x08"), modbus(1, "\x01\x55"))
		}
	}
}

// plant is polling, and the master's own commands.
func plant(w *wire) {
	polling(w)
	c := w.connect(20.5, master, station, 502)
	for i := range 3 {
		c.ask(21.5+10*float64(i), modbus(5, "\x00\x03\xff\x00"), modbus(5, "\x00\x03\xff\x00"))
		c.ask(22.5+10*float64(i), modbus(16, "\x00\x10\x00\x01\x02\x00\x07"), modbus(16, "\x00\x10\x00\x01"))
	}
}

// injected is polling, and a command of somebody who never asked for anything.
func injected(w *wire) {
	polling(w)
	c := w.connect(40.5, other, station, 502)
	c.ask(40.6, modbus(5, "\x00\x03\x00\x00"), modbus(5, "\x00\x03\x00\x00"))
}

// probe asks for one register after the other.
func probe(w *wire) {
	polling(w)
	c := w.connect(10.5, other, station, 502)
	for i := range byte(40) {
		answer := modbus(0x83, "\x02")
		if i%8 == 0 {
			answer = modbus(3, "\x02\x00\x01")
		}
		c.ask(11+float64(i)/10, modbus(3, "\x01"+string(i)+"\x00\x01"), answer)
	}
}

// s7 makes a message of parameters.
func s7(kind byte, params string) string {
	head := []byte{0x32, kind, 0, 0, 0, 9, 0, byte(len(params)), 0, 0}
	if kind == 3 {
		head = append(head, 0, 0)
	}
	unit := "\x02\xf0\x80" + string(head) + params
	return string([]byte{3, 0, 0, byte(4 + len(unit))}) + unit
}

// program stops a controller, loads a block into it, reads another one and starts it.
func program(w *wire) {
	c := w.connect(0, other, station, 102)
	c.ask(1, "\x03\x00\x00\x16\x11\xe0\x00\x00\x00\x01\x00\xc1\x02\x01\x00\xc2\x02\x01\x02\xc0\x01\x0a", "\x03\x00\x00\x16\x11\xd0\x00\x01\x00\x05\x00\xc0\x01\x0a\xc1\x02\x01\x00\xc2\x02\x01\x02")
	c.ask(1.1, s7(1, "\xf0\x00\x00\x01\x00\x01\x01\xe0"), s7(3, "\xf0\x00\x00\x01\x00\x01\x01\xe0"))
	c.ask(2, s7(1, "\x29\x00\x00\x00\x00\x00\x09P_PROGRAM"), s7(3, "\x29"))
	c.ask(3, s7(1, "\x1a\x00\x00\x00\x00\x00\x00\x00\x09_0800001P\x0d1000142000130"), s7(3, "\x1a"))
	c.ask(4, s7(1, "\x28\x00\x00\x00\x00\x00\x00\xfd\x00\x0a\x01\x000800001P\x05_INSE"), s7(3, "\x28"))
	c.ask(5, s7(1, "\x1d\x00\x00\x00\x00\x00\x00\x00\x09_0800002A"), s7(3, "\x1d"))
	c.ask(6, s7(1, "\x28\x00\x00\x00\x00\x00\x00\xfd\x00\x00\x09P_PROGRAM"), s7(3, "\x28"))
}

// newAddress gives a station of PROFINET another address than it has.
func newAddress(w *wire) {
	dcp := func(service, kind byte, blocks string) []byte {
		id := byte(0xfd)
		if kind == 1 && service == 5 {
			id = 0xff
		}
		b := []byte{0xfe, id, service, kind, 0, 0, 0, 9, 0, 0, 0, byte(len(blocks))}
		return append(append(b, blocks...), make([]byte, 30)...)
	}
	w.ether(1, station, other, 0x8892, dcp(5, 1, "\x02\x02\x00\x07\x00\x00press\x00\x01\x02\x00\x0e\x00\x01\x0a\x00\x00\x14\xff\xff\xff\x00\x0a\x00\x00\x01"))
	w.ether(2, other, station, 0x8892, dcp(4, 0, "\x01\x02\x00\x0e\x00\x01\x0a\x00\x00\x63\xff\xff\xff\x00\x0a\x00\x00\x01"))
	w.ether(2.01, station, other, 0x8892, dcp(4, 1, "\x05\x04\x00\x03\x01\x02\x00\x00"))
}

// bacnetReset restarts a device, and asks another one to be silent, which refuses.
func bacnetReset(w *wire) {
	const port = 47808
	send := func(at float64, from, to byte, body string) {
		w.udp(at, from, to, port, "\x81\x0a\x00"+string([]byte{byte(6 + len(body))})+"\x01\x04"+body)
	}
	send(1, other, station, "\x00\x05\x01\x14\x09\x00")
	send(1.01, station, other, "\x20\x01\x14")
	send(2, other, station+1, "\x00\x05\x02\x11\x19\x01")
	send(2.01, station+1, other, "\x50\x02\x11\x91\x04\x91\x1d")
}
