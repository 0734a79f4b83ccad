package filter

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

const shared = "../../../../shared/pcaps"

// TestAgainstTcpdump wants the very packets that tcpdump chooses.
func TestAgainstTcpdump(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	files := []string{"../../../plugins/detectors/portscan/testdata/syn-scan/input.pcap", "../../../examples/datasets/first-light/first-light.pcap"}
	for _, name := range []string{"atk-arp*", "enc-ip*", "enc-frag*", "*v6*", "*icmp*", "*sctp*", "*igmp*"} {
		found, _ := filepath.Glob(filepath.Join(shared, name+".pcap"))
		files = append(files, found[:min(len(found), 3)]...)
	}
	expressions := []string{
		"", "ip", "ip6", "arp", "not arp", "tcp", "udp", "icmp", "icmp6", "sctp", "igmp",
		"port 53", "udp port 53 or 5353", "tcp dst port 443", "src port 80", "portrange 1-1024", "tcp portrange 8000-9000",
		"host 192.168.1.1 or 10.0.0.1", "net 192.168.0.0/16", "src net 10.0.0.0/8 and dst net 192.168.0.0/16", "net 128.0.0.0/1",
		"not net 192.168.0.0/16 and not port 443", "net fe80::/10", "ip6 and not net ff00::/8", "src or dst net 10.0.0.0/9",
		"dst host 255.255.255.255", "ip proto 17", "ip6 proto 58", "ether proto 0x88cc", "ether src 00:00:00:00:00:00",
		"(tcp or udp) and (port 80 or port 443 or port 53)", "tcp or udp and port 53", "!(tcp) && !udp", "less 100", "greater 1000 and tcp",
		"tcp src port 80 and dst net 192.168.0.0/16 or arp", "proto 6",
	}
	matched := map[string]int{}
	for _, file := range files {
		all := packets(t, file)
		if len(all) == 0 || len(choose(t, all, "vlan")) > 0 { // tags are looked at below
			continue
		}
		for _, x := range expressions {
			want := tcpdump(t, file, x)
			matched[x] += len(want)
			compare(t, file, x, choose(t, all, x), want)
		}
	}
	for _, x := range expressions {
		if matched[x] == 0 {
			t.Logf("no capture holds a packet for %q", x)
		}
	}
}

// TestTags looks behind tags, for which tcpdump must be told how many there are.
func TestTags(t *testing.T) {
	if _, err := exec.LookPath("tcpdump"); err != nil {
		t.Skip("tcpdump is not installed")
	}
	names, _ := filepath.Glob(filepath.Join(shared, "enc-*vlan*.pcap"))
	if len(names) == 0 {
		t.Skip("the shared captures are not here")
	}
	for _, file := range names {
		all := packets(t, file)
		for _, x := range []string{"ip", "tcp", "udp", "port 80", "net 10.0.0.0/8", "arp"} {
			want := tcpdump(t, file, "("+x+") or (vlan and (("+x+") or (vlan and ("+x+"))))")
			compare(t, file, x, choose(t, all, x), want)
		}
		compare(t, file, "vlan", choose(t, all, "vlan"), tcpdump(t, file, "vlan"))
		compare(t, file, "vlan 100", choose(t, all, "vlan 100"), tcpdump(t, file, "vlan 100"))
	}
}

func compare(t *testing.T, file, x string, got, want [][]byte) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s, %q: %d packets, tcpdump has %d", filepath.Base(file), x, len(got), len(want))
		return
	}
	for i := range got {
		if !bytes.Equal(got[i], want[i]) {
			t.Errorf("%s, %q: match %d is another packet", filepath.Base(file), x, i)
			return
		}
	}
}

func choose(t *testing.T, all [][]byte, x string) (out [][]byte) {
	t.Helper()
	program, err := compile(x, Ethernet, 1<<18, false)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatalf("%q: %v", x, err)
	}
	for _, p := range all {
		n, err := vm.Run(p)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			out = append(out, p)
		}
	}
	return out
}

func tcpdump(t *testing.T, file, x string) [][]byte {
	t.Helper()
	var says bytes.Buffer
	cmd := exec.Command("tcpdump", "-n", "-r", file, "-w", "-", x)
	cmd.Stderr = &says
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tcpdump %q: %v: %s", x, err, says.String())
	}
	return read(t, out)
}

// packets are those of an Ethernet capture in full length; of others there are none.
func packets(t *testing.T, file string) [][]byte {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 1<<20 {
		return nil
	}
	return read(t, raw)
}

func read(t *testing.T, raw []byte) (out [][]byte) {
	t.Helper()
	r, err := capture.Open(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	for p := (capture.Packet{}); ; {
		if err := r.Next(&p); err != nil {
			return out
		}
		if p.Link != capture.LinkEthernet || int(p.Length) != len(p.Data) {
			return nil
		}
		out = append(out, bytes.Clone(p.Data))
	}
}

func TestRawIP(t *testing.T) {
	program, err := compile("udp port 53 and src net 10.0.0.0/8", RawIP, 100, false)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(program)
	if err != nil {
		t.Fatal(err)
	}
	packet := []byte{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 8, 8, 8, 8, 0xc0, 0, 0, 53, 0, 8, 0, 0}
	if n, _ := vm.Run(packet); n != 100 {
		t.Errorf("returned %d", n)
	}
	packet[23] = 54
	if n, _ := vm.Run(packet); n != 0 {
		t.Error("another port matches")
	}
	if n, _ := vm.Run(packet[:10]); n != 0 {
		t.Error("half a header matches")
	}
}

// A packet that ends early must not match by accident, and must be matched by a test that it fulfils.
func TestShortPackets(t *testing.T) {
	frame := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0x08, 0x00, 0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 1, 2, 3, 8, 8, 8, 8, 0xc0, 0}
	for x, want := range map[string]bool{"not port 53": true, "udp": true, "port 53": false, "ip": true, "arp": false, "ether dst 00:01:02:03:04:05": true} {
		if got := len(choose(t, [][]byte{frame}, x)) == 1; got != want {
			t.Errorf("%q: %v", x, got)
		}
	}
	for n := range frame {
		if len(choose(t, [][]byte{frame[:n]}, "port 53 or net 11.0.0.0/8 or vlan")) != 0 {
			t.Errorf("%d bytes match", n)
		}
	}
}

func TestRefusals(t *testing.T) {
	for x, says := range map[string]string{
		"host example.org": "not looked up", "port http": "not looked up", "port 70000": "0 to 65535", "portrange 9-1": "0 to 65535",
		"port 1-5": "portrange", "net 10.1.0.0/8": "did you mean 10.0.0.0/8", "net 10": "prefix", "host": "ends where",
		"(tcp": "closing parenthesis", "tcp)": "after a condition comes", "tcp udp": "after a condition comes", "icmp port 5": "no ports", "vlan 5000": "4095",
		"less": "number of bytes", "and tcp": "no address", "ip host ::1": "does not go with", "ether": "after", "ip6 proto banana": "number",
		strings.Repeat("(", 100): "inside one another", strings.Repeat("x", MaxLength+1): "at most",
		strings.Repeat("host 10.0.0.1 or ", 240) + "arp": "limit",
	} {
		if _, err := Compile(x, Ethernet, 96); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%.40q: %v, want %q", x, err, says)
		}
	}
	if _, err := Compile("ether host 02:00:00:00:00:01", RawIP, 96); !errors.Is(err, errNotEthernet) {
		t.Errorf("no Ethernet: %v", err)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("tcp port 443 and not (host 10.0.0.1 or 10.0.0.2)", []byte("0123456789abcd"))
	f.Add("vlan 5 and src or dst net fe80::/10 or less 60", []byte{})
	f.Fuzz(func(t *testing.T, x string, packet []byte) {
		program, err := compile(x, Ethernet, 1, false)
		if err != nil {
			return
		}
		if _, err := bpf.Assemble(program); err != nil {
			t.Fatalf("%q: %v", x, err)
		}
		vm, err := bpf.NewVM(program)
		if err != nil {
			t.Fatalf("%q: %v", x, err)
		}
		if _, err := vm.Run(packet); err != nil {
			t.Fatalf("%q: %v", x, err)
		}
	})
}
