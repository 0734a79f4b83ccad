// Package snmptest is an agent of SNMP for tests, versions 1 and 2c: what goes in are recordings of devices, one for each community.
package snmptest

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gosnmp/gosnmp"
)

// Object is one that an agent has: its name, and its value as it goes over the wire.
type Object struct {
	arcs  []uint32
	Name  string
	tag   byte
	value []byte
}

// Agent answers on a port of this machine.
type Agent struct {
	Address string

	mu       sync.Mutex // guards all below
	devices  map[string][]Object
	most     int // bytes of an answer
	wait     time.Duration
	requests int
	drop     func(request int) bool
}

// New starts an agent that has no device. It ends with the test.
func New(tb testing.TB) *Agent {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	a := &Agent{Address: conn.LocalAddr().String(), devices: map[string][]Object{}, most: 1400}
	var all sync.WaitGroup
	all.Go(func() {
		buf := make([]byte, 64<<10)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			request := slices.Clone(buf[:n])
			all.Go(func() {
				if out := a.answer(request); out != nil {
					_, _ = conn.WriteTo(out, from)
				}
			})
		}
	})
	tb.Cleanup(func() { conn.Close(); all.Wait() })
	return a
}

// Put gives the device of a community its objects, as lines "name|tag|value" of a recording.
func (a *Agent) Put(tb testing.TB, community string, recording io.Reader) {
	tb.Helper()
	var objects []Object
	lines := bufio.NewScanner(recording)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); line != "" && line[0] != '#' {
			o, err := parse(line)
			if err != nil {
				tb.Fatal(err)
			}
			objects = append(objects, o)
		}
	}
	slices.SortFunc(objects, func(x, y Object) int { return slices.Compare(x.arcs, y.arcs) })
	a.mu.Lock()
	defer a.mu.Unlock()
	a.devices[community] = objects
}

// Limit bounds the bytes of an answer.
func (a *Agent) Limit(bytes int) { a.set(func() { a.most = bytes }) }

// Slow makes the agent wait for each row of an answer.
func (a *Agent) Slow(row time.Duration) { a.set(func() { a.wait = row }) }

// Drop loses requests, which count from 1.
func (a *Agent) Drop(lost func(request int) bool) { a.set(func() { a.drop = lost }) }

func (a *Agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// Requests is how many came.
func (a *Agent) Requests() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

func parse(line string) (Object, error) {
	col := strings.SplitN(line, "|", 3)
	if len(col) != 3 {
		return Object{}, fmt.Errorf("%q is no line of a recording", line)
	}
	o := Object{Name: col[0]}
	var err error
	if o.arcs, err = arcs(col[0]); err != nil {
		return Object{}, err
	}
	text, isHex := strings.CutSuffix(col[1], "x")
	tag, err := strconv.ParseUint(text, 10, 8)
	if err != nil {
		return Object{}, err
	}
	o.tag = byte(tag)
	o.value, err = encode(o.tag, col[2], isHex)
	return o, err
}

func arcs(name string) ([]uint32, error) {
	var out []uint32
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "."), ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil {
			return nil, err
		}
		out = append(out, uint32(n))
	}
	return out, nil
}

func encode(tag byte, text string, isHex bool) ([]byte, error) {
	if isHex {
		return hex.DecodeString(text)
	}
	switch gosnmp.Asn1BER(tag) {
	case gosnmp.Integer:
		n, err := strconv.ParseInt(text, 10, 64)
		return integer(n), err
	case gosnmp.ObjectIdentifier:
		list, err := arcs(text)
		return object(list), err
	case gosnmp.IPAddress:
		ip, err := netip.ParseAddr(text)
		return ip.AsSlice(), err
	case gosnmp.Counter32, gosnmp.Gauge32, gosnmp.TimeTicks, gosnmp.Counter64:
		n, err := strconv.ParseUint(text, 10, 64)
		return unsigned(n), err
	}
	return []byte(text), nil
}

func integer(n int64) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(n))
	for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
		b = b[1:]
	}
	return b
}

func unsigned(n uint64) []byte {
	b := append([]byte{0}, binary.BigEndian.AppendUint64(nil, n)...)
	for len(b) > 1 && b[0] == 0 && b[1] < 0x80 {
		b = b[1:]
	}
	return b
}

func object(list []uint32) []byte {
	if len(list) < 2 {
		return []byte{0}
	}
	var out []byte
	for _, n := range append([]uint32{list[0]*40 + list[1]}, list[2:]...) {
		part := []byte{byte(n & 0x7f)}
		for n >>= 7; n > 0; n >>= 7 {
			part = append(part, byte(n&0x7f|0x80))
		}
		slices.Reverse(part)
		out = append(out, part...)
	}
	return out
}

func field(tag byte, parts ...[]byte) []byte {
	body := slices.Concat(parts...)
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	default:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	}
}

func (a *Agent) answer(request []byte) []byte {
	in, err := (&gosnmp.GoSNMP{Version: gosnmp.Version2c}).SnmpDecodePacket(request)
	if err != nil {
		return nil
	}
	a.mu.Lock()
	a.requests++
	lost := a.drop != nil && a.drop(a.requests)
	objects, known := a.devices[in.Community]
	most, wait := a.most, a.wait
	a.mu.Unlock()
	if !known || lost {
		return nil
	}
	r := reply{in: in, objects: objects, most: most}
	status, at := r.fill()
	time.Sleep(wait * time.Duration(len(r.bound)/max(1, len(in.Variables))))
	if status != gosnmp.NoError {
		r.bound = nil
		for _, v := range in.Variables {
			list, _ := arcs(v.Name)
			r.bound = append(r.bound, field(0x30, field(6, object(list)), field(5)))
		}
	}
	return field(0x30, field(2, integer(int64(in.Version))), field(4, []byte(in.Community)),
		field(byte(gosnmp.GetResponse), field(2, integer(int64(in.RequestID))), field(2, integer(int64(status))), field(2, integer(int64(at))),
			field(0x30, r.bound...)))
}

// reply is one answer in the making.
type reply struct {
	in      *gosnmp.SnmpPacket
	objects []Object
	most    int
	size    int
	bound   [][]byte
}

func (r *reply) fill() (gosnmp.SNMPError, int) {
	v1 := r.in.Version == gosnmp.Version1
	at := make([][]uint32, len(r.in.Variables))
	for i, v := range r.in.Variables {
		at[i], _ = arcs(v.Name)
	}
	rounds := 1
	if r.in.PDUType == gosnmp.GetBulkRequest {
		rounds = int(r.in.MaxRepetitions)
	}
	for range rounds {
		for i := range at {
			o, found := r.find(at[i])
			if !found && v1 {
				return gosnmp.NoSuchName, i + 1
			}
			one := field(0x30, field(6, object(o.arcs)), field(o.tag, o.value))
			if r.size += len(one); r.size > r.most {
				if r.in.PDUType == gosnmp.GetBulkRequest && len(r.bound) > 0 {
					return gosnmp.NoError, 0
				}
				return gosnmp.TooBig, 0
			}
			r.bound, at[i] = append(r.bound, one), o.arcs
		}
	}
	return gosnmp.NoError, 0
}

func (r *reply) find(name []uint32) (Object, bool) {
	i, exact := slices.BinarySearchFunc(r.objects, name, func(o Object, n []uint32) int { return slices.Compare(o.arcs, n) })
	missing := gosnmp.NoSuchInstance
	if r.in.PDUType != gosnmp.GetRequest {
		if exact {
			i++
		}
		for v1 := r.in.Version == gosnmp.Version1; v1 && i < len(r.objects) && r.objects[i].tag == byte(gosnmp.Counter64); {
			i++ // version 1 knows none
		}
		exact, missing = i < len(r.objects), gosnmp.EndOfMibView
	}
	if !exact {
		return Object{arcs: name, tag: byte(missing)}, false
	}
	return r.objects[i], true
}

// Lines writes a recording, the values of one column in a line each, in the order of their index.
func Lines(column string, tag int, values map[int]string) string {
	var out strings.Builder
	keys := make([]int, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[int])
	for _, k := range keys {
		fmt.Fprintf(&out, "%s.%d|%d|%s\n", column, k, tag, values[k])
	}
	return out.String()
}
