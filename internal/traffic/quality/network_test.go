package quality

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// packed is a capture of Ethernet frames in hex.
func packed(t *testing.T, frames ...string) string {
	t.Helper()
	out := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	for i, text := range frames {
		frame, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1_700_000_000 + i, 0, len(frame), len(frame)} {
			out = binary.LittleEndian.AppendUint32(out, uint32(n))
		}
		out = append(out, frame...)
	}
	file := filepath.Join(t.TempDir(), "network.pcap")
	if err := os.WriteFile(file, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// datagram is a frame from one card with UDP over IPv4 in it.
func datagram(card byte, src, dst string, from, to uint16, body string) string {
	n := len(strings.ReplaceAll(body, " ", "")) / 2
	return fmt.Sprintf("01005e000001 0200000000%02x 0800 4500 %04x 00010000 ff11 0000 %s %s %04x %04x %04x 0000 %s", card, n+28, src, dst, from, to, n+8, body)
}

// names writes a name as DNS does, in hex.
func names(labels ...string) string {
	var out []byte
	for _, l := range labels {
		out = append(append(out, byte(len(l))), l...)
	}
	return hex.EncodeToString(append(out, 0))
}

// resource is a record of an answer.
func resource(name string, kind int, data string) string {
	return fmt.Sprintf("%s %04x 8001 00000078 %04x %s", name, kind, len(strings.ReplaceAll(data, " ", ""))/2, data)
}

// TestMadeUpNetwork asks for each device of a network that is made up here, so that it needs no given captures.
func TestMadeUpNetwork(t *testing.T) {
	const printer, router = "0a000009", "0a000001"
	service := names("Front desk", "_ipp", "_tcp", "local")
	announced := "0000 8400 0000 0003 0000 0001" + resource(names("_ipp", "_tcp", "local"), 12, service) + resource(service, 33, "0000 0000 0277"+names("desk", "local")) +
		resource(service, 16, fmt.Sprintf("%02x%x", len("ty=Laser 9"), "ty=Laser 9")) + resource(names("desk", "local"), 1, printer)
	lease := "0101 0600 00000009 00000000 00000000 00000000 00000000 00000000 020000000003" + strings.Repeat("00", 10+192) + "63825363 350103 0c02 7063 3c08 4d53465420352e30 370301 0306 ff"
	file := packed(t,
		"ffffffffffff 020000000001 0806 0001 0800 06 04 0002 020000000001"+router+"ffffffffffff"+router,
		"0180c200000e 020000000002 88cc 0207 04 020000000002 0403 05 6731 0602 0078 0a03 737731 0e04 0014 0004 100c 05 01 0a000002 02 00000001 00 0000",
		datagram(3, "00000000", "ffffffff", 68, 67, lease),
		datagram(9, printer, "e00000fb", 5353, 5353, announced),
		datagram(1, router, "e0000002", 1985, 1985, "00 00 10 03 0a 64 05 00 636973636f000000 0a0000fe"),
		"010ecf000000 020000000004 8892 feff 05 01 00000009 0000 001e 0202 0007 0000 7072657373 00 0102 000e 0001 0a000004 ffffff00 0a000001",
		"333300000001 020000000005 86dd 60000000 0018 3a ff fe800000000000000000000000000005 ff020000000000000000000000000001 86 00 0000 40 00 0708 00000000 00000000 01 01 020000000005",
	)
	found := discovered(t, file)
	for _, h := range []hidden{
		{"10.0.0.1", "", "arp", nil},
		{"10.0.0.1", "", "hsrp", map[string]string{"role": "router", "hsrp_address": "10.0.0.254"}},
		{"10.0.0.2", "sw1", "lldp", map[string]string{"role": "switch", "lldp_port": "g1"}},
		{"02:00:00:00:00:03", "pc", "dhcp", map[string]string{"os": "windows", "dhcp_fingerprint": "1,3,6"}},
		{"10.0.0.9", "desk", "mdns", map[string]string{"model": "Laser 9", "role": "printer", "services": "_ipp._tcp"}},
		{"10.0.0.4", "press", "profinet-dcp", map[string]string{"ot_station": "press"}},
		{"fe80::5", "", "ndp", map[string]string{"role": "router"}},
	} {
		if !slices.ContainsFunc(found, h.is) {
			t.Errorf("%s %s is not found by %s", h.address, h.hostname, h.source)
		}
	}
	if t.Failed() || len(found) != 6 {
		for _, d := range found {
			t.Errorf("found %+v", *d)
		}
	}
}
