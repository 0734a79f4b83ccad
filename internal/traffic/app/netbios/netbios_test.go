package netbios

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/apptest"
)

// nb writes a name as the wire has it.
func nb(text string, suffix byte) string {
	out := []byte{32}
	for _, c := range []byte(text + strings.Repeat(" ", 15-len(text)) + string([]byte{suffix})) {
		out = append(out, 'A'+c>>4, 'A'+c&15)
	}
	return string(append(out, 0))
}

// browse makes the transaction that carries a message to the browsers.
func browse(message string) string {
	head := make([]byte, 59)
	copy(head, "\xffSMB\x25")
	const slot = "\x03\x00\x01\x00\x00\x00\x02\x00\x00\x00\\MAILSLOT\\BROWSE\x00"
	binary.LittleEndian.PutUint16(head[55:], uint16(len(message)))
	binary.LittleEndian.PutUint16(head[57:], uint16(len(head)+len(slot)))
	return string(head) + slot + message
}

var (
	query    = "\x00\x01\x01\x10\x00\x01\x00\x00\x00\x00\x00\x00" + nb("PRINTER", 0x20) + "\x00\x20\x00\x01"
	answer   = "\x00\x01\x85\x00\x00\x00\x00\x01\x00\x00\x00\x00" + nb("PRINTER", 0x20) + "\x00\x20\x00\x01\x00\x00\x00\x3c\x00\x0c\x00\x00\x0a\x00\x00\x07\x80\x00\x0a\x00\x00\x08"
	register = "\x00\x02\x29\x10\x00\x01\x00\x00\x00\x00\x00\x01" + nb("GROUP", 0) + "\x00\x20\x00\x01\xc0\x0c\x00\x20\x00\x01\x00\x00\x00\x00\x00\x06\x80\x00\x0a\x00\x00\x07"
	status   = "\x00\x03\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00" + nb("*", 0) + "\x00\x21\x00\x01\x00\x00\x00\x00\x00\x2b\x02" +
		"PRINTER        \x00\x04\x00" + "GROUP          \x00\x84\x00" + "\x00\x1e\x84\x00\x00\x1c"
	missing  = "\x00\x04\x85\x83\x00\x00\x00\x01\x00\x00\x00\x00" + nb("NOBODY", 0) + "\x00\x0a\x00\x01\x00\x00\x00\x00\x00\x00"
	all      = []string{query, answer, register, status, missing}
	datagram = "\x11\x0e\x00\x09\x0a\x00\x00\x07\x00\x8a\x00\xbb\x00\x00" + nb("PRINTER", 0) + nb("GROUP", 0x1d)
	announce = datagram + browse("\x01\x00\x80\xfc\x0a\x00PRINTER\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x01\x03\x10\x01\x00\x0f\x01\x55\xaaSecond floor\x00")
)

func line(f *app.Fact) string {
	switch m := f.Body.(type) {
	case *Message:
		return fmt.Sprintf("%d %s %v %d %v %v %v %d %v %v %v %v", m.ID, m.Name, m.Response, m.Code, m.Broadcast, m.Subject, m.Group, m.TTL, m.Addrs, m.Held, m.MAC, m.Damaged)
	case *Datagram:
		text := fmt.Sprintf("%v %v %v", m.Source, m.Destination, m.Addr)
		if m.Announced != nil {
			text += fmt.Sprintf(" %+v", *m.Announced)
		}
		return text
	}
	return ""
}

func read(p app.Protocol, b ...string) (lines []string) {
	parser := p.NewDatagram()
	parser.Start(app.TestFlow(p, 17, func(f *app.Fact) { lines = append(lines, line(f)) }))
	for _, b := range b {
		parser.Datagram(app.Client, []byte(b), 0)
	}
	parser.Close()
	return lines
}

func TestNames(t *testing.T) {
	want := []string{
		"1 query false 0 true {PRINTER 32} false 0 [] []  false", "1 query true 0 false {PRINTER 32} true 60 [10.0.0.7 10.0.0.8] []  false",
		"2 registration false 0 true {GROUP 0} true 0 [10.0.0.7] []  false", "3 status true 0 false {* 0} false 0 [] [{{PRINTER 0} false} {{GROUP 0} true}] 00:1e:84:00:00:1c false",
		"4 query true 3 false {NOBODY 0} false 0 [] []  false",
	}
	if have := read(Names, all...); !slices.Equal(have, want) {
		t.Errorf("have\n%s\nwant\n%s", strings.Join(have, "\n"), strings.Join(want, "\n"))
	}
	for _, whole := range all {
		for n := range len(whole) {
			have := read(Names, whole[:n])
			if n < headerSize+34 && len(have) != 0 || len(have) > 1 || len(have) == 1 && !strings.HasSuffix(have[0], "true") {
				t.Errorf("%q cut at %d: %q", whole, n, have)
			}
		}
	}
}

func TestDatagrams(t *testing.T) {
	want := []string{
		"{PRINTER 0} {GROUP 29} 10.0.0.7", "{PRINTER 0} {GROUP 29} 10.0.0.7 {Host:PRINTER Command:1 Major:6 Minor:1 Type:69635 Comment:Second floor}",
	}
	if have := read(Datagrams, datagram, announce); !slices.Equal(have, want) {
		t.Errorf("%q\nwant %q", have, want)
	}
	for n := range len(announce) {
		if have := read(Datagrams, announce[:n]); len(have) > 0 && (n < len(datagram) || have[0] != want[0]) {
			t.Errorf("cut at %d: %q", n, have)
		}
	}
}

func TestRecognise(t *testing.T) {
	dns := "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07example\x03com\x00\x00\x01\x00\x01"
	for text, want := range map[string]app.Verdict{
		query: app.Sure, answer: app.Sure, register: app.Sure, status: app.Sure, missing: app.Sure, query[:40]: app.No, dns: app.No, query[:13] + "a" + query[14:]: app.No,
		query[:len(query)-1] + "\x02": app.No,
	} {
		if have := recogniseNames(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
	for text, want := range map[string]app.Verdict{datagram: app.Sure, announce: app.Sure, datagram[:60]: app.No, query: app.No} {
		if have := recogniseDatagrams(app.Client, []byte(text)); have != want {
			t.Errorf("%q: %d, want %d", text, have, want)
		}
	}
}

func TestAgreesWithTshark(t *testing.T) {
	path := apptest.Shared(t, "disc-netbios__ntop__netbios.pcap.pcapng")
	have := map[string]string{}
	apptest.Run(t, path, []app.Protocol{Names, Datagrams}, func(f *app.Fact) {
		frame := strconv.FormatUint(f.Flow.Packet, 10)
		switch m := f.Body.(type) {
		case *Message:
			var held []string
			for _, h := range m.Held {
				held = append(held, h.Text)
			}
			have[frame] = fmt.Sprintln(m.ID, m.Opcode, m.Response, m.Code, m.Subject.Text, m.Addrs, m.TTL, held)
		case *Datagram:
			have[frame] = fmt.Sprintf("%s<%02x> %s<%02x> %v", m.Source.Text, m.Source.Suffix, m.Destination.Text, m.Destination.Suffix, *m.Announced)
		}
	})
	compared := 0
	for _, row := range apptest.Tshark(t, path, "nbns && !_ws.malformed", "frame.number", "nbns.id", "nbns.flags.opcode", "nbns.flags.response", "nbns.flags.rcode", "nbns.name", "nbns.addr", "nbns.ttl", "nbns.netbios_name") {
		number := func(i int) uint64 {
			n, _ := strconv.ParseUint(strings.Join(row[i], ""), 0, 32)
			return n
		}
		name, _, _ := strings.Cut(row[5][0], "<")
		var addrs []netip.Addr
		for _, a := range row[6] {
			addrs = append(addrs, netip.MustParseAddr(a))
		}
		held := make([]string, 0, len(row[8]))
		for _, h := range row[8] {
			h, _, _ = strings.Cut(h, "<")
			held = append(held, strings.TrimSpace(h))
		}
		want := fmt.Sprintln(number(1), number(2), number(3) == 1, number(4), name, addrs, number(7), held)
		compared++
		if have[row[0][0]] != want {
			t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
		}
	}
	for _, row := range apptest.Tshark(t, path, "browser", "frame.number", "nbdgm.source_name", "nbdgm.destination_name", "browser.command", "browser.server", "browser.os_major", "browser.os_minor", "browser.server_type") {
		command, _ := strconv.ParseUint(row[3][0], 0, 8)
		kind, _ := strconv.ParseUint(row[7][0], 0, 32)
		want := fmt.Sprintf("%s %s %v", row[1][0], row[2][0], Announcement{Command: uint8(command), Host: row[4][0], Major: row[5][0][0] - '0', Minor: row[6][0][0] - '0', Type: uint32(kind)})
		compared++
		if have[row[0][0]] != want {
			t.Errorf("packet %s: %q, want %q", row[0][0], have[row[0][0]], want)
		}
	}
	if compared < 250 {
		t.Errorf("%d messages were compared", compared)
	}
}

func FuzzNames(f *testing.F) {
	apptest.FuzzDatagram(f, Names, []byte(query), []byte(register), []byte(status))
}

func FuzzDatagrams(f *testing.F) { apptest.FuzzDatagram(f, Datagrams, []byte(announce)) }
