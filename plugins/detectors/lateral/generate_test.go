package lateral

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){
		"psexec": psexec, "wmi-task-dcom": wmiTaskDCOM, "winrm": shells, "dcsync": replication, "kerberoast": roasting, "spreading": spreads,
		"administrators": spreads, "quiet": quiet,
	})
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

// smb2 is a message of SMB 2 in its frame.
func smb2(code uint16, response bool, id byte, tree uint32, status uint32, body []byte, texts ...string) string {
	b := make([]byte, 64)
	copy(b, "\xfeSMB\x40")
	binary.LittleEndian.PutUint32(b[8:], status)
	binary.LittleEndian.PutUint16(b[12:], code)
	if response {
		b[16] = 1
	}
	b[24] = id
	binary.LittleEndian.PutUint32(b[36:], tree)
	b = append(append(b, body...), strings.Join(texts, "")...)
	return string([]byte{0, byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b))}) + string(b)
}

func wide(s string) string {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return string(out)
}

// pointing is a body with the place and the length of a text behind it.
func pointing(size, at int, text string) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint16(b[at:], uint16(64+size))
	binary.LittleEndian.PutUint16(b[at+2:], uint16(len(text)))
	return b
}

func tree(id byte, tree uint32, share string) []talk.Said {
	name := wide(share)
	return []talk.Said{talk.Client(smb2(3, false, id, 0, 0, pointing(8, 4, name), name)), talk.Server(smb2(3, true, id, tree, 0, make([]byte, 16)))}
}

const handle = "0123456789abcdef"

func create(id byte, tree, access, status uint32, file string) []talk.Said {
	name := wide(file)
	body := pointing(56, 44, name)
	binary.LittleEndian.PutUint32(body[24:], access)
	answer := make([]byte, 88)
	copy(answer[64:], handle)
	return []talk.Said{talk.Client(smb2(5, false, id, tree, 0, body, name)), talk.Server(smb2(5, true, id, tree, status, answer))}
}

// through is what goes through a pipe.
func through(id byte, tree uint32, data string) talk.Said {
	body := make([]byte, 56)
	binary.LittleEndian.PutUint32(body[4:], 0x11c017)
	copy(body[8:], handle)
	binary.LittleEndian.PutUint32(body[24:], 64+56)
	return talk.Client(smb2(11, false, id, tree, 0, body, data))
}

// rpc is a message of a remote procedure call.
func rpc(kind byte, body ...string) string {
	rest := strings.Join(body, "")
	b := []byte{5, 0, kind, 3, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)+len(rest)))
	return string(b) + rest
}

func bindTo(uuid string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil {
		panic(err)
	}
	slices.Reverse(b[:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return rpc(11, strings.Repeat("\x00", 8), "\x01\x00\x00\x00\x00\x00\x01\x00", string(b), "\x01\x00\x00\x00",
		"\x04\x5d\x88\x8a\xeb\x1c\xc9\x11\x9f\xe8\x08\x00\x2b\x10\x48\x60\x02\x00\x00\x00")
}

func call(operation byte) string {
	return rpc(0, "\x04\x00\x00\x00\x00\x00", string([]byte{operation, 0}), "args")
}

// proven1 adds to a bind how its client proves who it is, by NTLM.
func proven1(bind string) string {
	const token = "NTLMSSP\x00"
	b := []byte(bind + "\x0a\x06\x00\x00\x00\x00\x00\x00" + token)
	binary.LittleEndian.PutUint16(b[8:], uint16(len(b)))
	binary.LittleEndian.PutUint16(b[10:], uint16(len(token)))
	return string(b)
}

// calls is a connection in which operations of an interface are called.
func calls(uuid string, operations ...byte) []talk.Said {
	said := []talk.Said{talk.Client(proven1(bindTo(uuid))), talk.Server(rpc(12, "accepted"))}
	for _, o := range operations {
		said = append(said, talk.Client(call(o)), talk.Server(rpc(2, "12345678done")))
	}
	return said
}

// copyAndStart copies a program and makes a service of it, as psexec does.
func copyAndStart(w *talk.Wire, at time.Duration, from, to byte, program string) {
	said := slices.Concat(tree(1, 1, `\\server\ADMIN$`), create(2, 1, 0x120196, 0, program), tree(3, 2, `\\server\IPC$`), create(4, 2, 0x12019f, 0, "svcctl"))
	said = append(said, through(5, 2, bindTo(svcctl)), through(6, 2, call(15)), through(7, 2, call(12)), through(8, 2, call(19)))
	w.TCP(at, host(from), host(to), 445, said...)
}

func psexec(w *talk.Wire) { copyAndStart(w, 0, 66, 20, "WINSVC.exe") }

func wmiTaskDCOM(w *talk.Wire) {
	w.TCP(0, host(66), host(20), 49154, calls(wbem, 6, 24)...)
	w.TCP(time.Minute, host(66), host(21), 49155, calls(scheduler, 1, 12)...)
	w.TCP(2*time.Minute, host(66), host(22), 49156, calls(dispatch, 5, 6)...)
	w.TCP(3*time.Minute, host(66), host(23), 49157, calls(winreg, 2, 20)...)
}

func soap(target string) []talk.Said {
	return []talk.Said{talk.Client("POST " + target + " HTTP/1.1\r\nHost: server\r\nContent-Type: application/soap+xml\r\nContent-Length: 0\r\n\r\n"),
		talk.Server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")}
}

func shells(w *talk.Wire) {
	w.TCP(0, host(66), host(20), 5985, slices.Repeat(soap("/wsman?PSVersion=5.1"), 4)...)
	w.TCP(time.Second, host(66), host(21), 5985, soap("/wsman")...)
	w.TCP(2*time.Second, host(7), host(22), 5985, soap("/wsman/SubscriptionManager/WEC")...)
}

// replication is asked for by a domain controller, which is known by its tickets, and by somebody else.
func replication(w *talk.Wire) {
	w.UDP(0, host(7), host(2), 88, kerberosRequest(10, "krbtgt", "18"), kerberosReply(11, "krbtgt", 18))
	w.TCP(time.Second, host(2), host(1), 49155, calls(drsuapi, 0, 3)...)
	w.TCP(2*time.Second, host(66), host(1), 49155, calls(drsuapi, 0, 12, 3)...)
}

func tlv(tag byte, parts ...string) string {
	body := strings.Join(parts, "")
	if len(body) > 127 {
		return string([]byte{tag, 0x82, byte(len(body) >> 8), byte(len(body))}) + body
	}
	return string([]byte{tag, byte(len(body))}) + body
}

func integer(n byte) string { return tlv(2, string([]byte{n})) }

func principal(name string) string {
	list := ""
	for part := range strings.SplitSeq(name, "/") {
		list += tlv(0x1b, part)
	}
	return tlv(0x30, tlv(0xa0, integer(2)), tlv(0xa1, tlv(0x30, list)))
}

func kerberosRequest(kind byte, service string, encryptions ...string) string {
	list := ""
	for _, e := range encryptions {
		var n byte
		_, _ = fmt.Sscan(e, &n)
		list += integer(n)
	}
	return tlv(0x60+kind, tlv(0x30, tlv(0xa1, integer(5)), tlv(0xa2, integer(kind)), tlv(0xa4, tlv(0x30, tlv(0xa0, tlv(3, "\x00\x40\x81\x00\x10")),
		tlv(0xa1, principal("bob")), tlv(0xa2, tlv(0x1b, "EXAMPLE.COM")), tlv(0xa3, principal(service)), tlv(0xa8, tlv(0x30, list))))))
}

func kerberosReply(kind byte, service string, encryption byte) string {
	return tlv(0x60+kind, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa1, integer(kind)), tlv(0xa3, tlv(0x1b, "EXAMPLE.COM")), tlv(0xa4, principal("bob")),
		tlv(0xa5, tlv(0x61, tlv(0x30, tlv(0xa0, integer(5)), tlv(0xa2, principal(service)), tlv(0xa3, tlv(0x30, tlv(0xa0, integer(encryption)))))))))
}

func ticket(w *talk.Wire, at time.Duration, from byte, service string, encryption byte, wanted ...string) {
	w.UDP(at, host(from), host(1), 88, kerberosRequest(12, service, wanted...), kerberosReply(13, service, encryption))
}

// roasting is asked for by one host, which wants nothing better; another one gets what services of old can do.
func roasting(w *talk.Wire) {
	for i := range 4 {
		ticket(w, time.Duration(i)*time.Second, 66, fmt.Sprintf("MSSQLSvc/db%d:1433", i), 23, "23")
	}
	for i := range 6 {
		ticket(w, time.Duration(i)*time.Minute, 67, fmt.Sprintf("HTTP/web%d", i), 23, "18", "17", "23")
	}
}

func spreads(w *talk.Wire) {
	for i := range byte(7) {
		copyAndStart(w, time.Duration(i)*time.Minute, 66, 20+i, "update.exe")
	}
}

// quiet is what looks like it and is none.
func quiet(w *talk.Wire) {
	// Files are opened and written, programs read, on shares of all kinds; a program is not let in.
	w.TCP(0, host(7), host(20), 445, slices.Concat(tree(1, 1, `\\server\Users`), create(2, 1, 0x120196, 0, "setup.exe"), tree(3, 2, `\\server\C$`),
		create(4, 2, 0x120089, 0, `Windows\notepad.exe`), create(5, 2, 0x120196, 0, "notes.txt"), create(6, 2, 0x120196, 0xc0000022, "tool.exe"))...)
	// Who asks what services there are, or who people are.
	w.TCP(time.Second, host(7), host(20), 49155, calls(svcctl, 15, 14, 6)...)
	w.TCP(2*time.Second, host(7), host(1), 49155, calls(drsuapi, 0, 12, 1)...)
	w.TCP(3*time.Second, host(9), host(20), 49154, calls(wbem, 6, 20)...)
	// Tickets as they are today, and to machines that know only the old ones.
	for i := range 8 {
		ticket(w, time.Duration(i)*time.Second, 7, fmt.Sprintf("HTTP/web%d", i), 18, "18", "17", "23")
	}
	for i := range 3 {
		ticket(w, time.Duration(i)*time.Second, 8, fmt.Sprintf("cifs/nas%d", i), 23, "23")
	}
	ticket(w, time.Second, 8, "krbtgt/EXAMPLE.COM", 23, "23")
	w.TCP(4*time.Second, host(7), host(20), 80, soap("/wsmanual")...)
}
