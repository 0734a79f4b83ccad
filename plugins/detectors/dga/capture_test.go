package dga

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/picketwatch/picket/sdk"
)

// captures makes the input of every case, by folder.
func captures(t *testing.T) map[string][]byte {
	t.Helper()
	person := browsing(resident, 120)
	infection := append(browsing(infected, 60), generated(40, true)...)
	var odd []sdk.DNS // and yet ordinary
	for i, f := range generated(60, true) {
		f.Client = resident
		f.Query = []string{
			f.Query[:12] + ".cloudfront.net", f.Query[:12], f.Query[:10] + ".internal", f.Query[:8] + ".cdn.rivermarket.com", "7.0.0.10.in-addr.arpa",
		}[i/2%5]
		odd = append(odd, f)
	}
	return map[string][]byte{
		"testdata/missing": pcap(t, append(infection, person...)),
		"testdata/exist":   pcap(t, generated(12, false)),
		"testdata/failing": pcap(t, append(tries(20, 1), browsing(infected, 40)...)),
		"testdata/quiet":   pcap(t, append(person, odd...)),
	}
}

// The captures of the cases are what this file makes; PICKET_UPDATE=1 go test writes them.
func TestCapturesAreFresh(t *testing.T) {
	for folder, want := range captures(t) {
		file := filepath.Join(folder, "input.pcap")
		if os.Getenv("PICKET_UPDATE") != "" {
			if err := os.MkdirAll(folder, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(file); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is not what is made here (%v): run PICKET_UPDATE=1 go test", file, err)
		}
	}
}

// pcap writes questions and answers down in the order of their times.
func pcap(t *testing.T, asked []sdk.DNS) []byte {
	t.Helper()
	out := binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4)
	out = append(out, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0)
	slices.SortStableFunc(asked, func(a, b sdk.DNS) int { return a.Time.Compare(b.Time) })
	r := rand.New(rand.NewPCG(3, 3))
	port := uint16(0)
	for i := range asked {
		if !asked[i].Response {
			port = 32768 + uint16(r.IntN(28000))
		}
		frame := frameOf(t, &asked[i], port)
		at := asked[i].Time
		for _, v := range []uint32{uint32(at.Unix()), uint32(at.Nanosecond() / 1000), uint32(len(frame)), uint32(len(frame))} {
			out = binary.LittleEndian.AppendUint32(out, v)
		}
		out = append(out, frame...)
	}
	return out
}

// frameOf is a message in UDP over IPv4 over Ethernet. A question that has no answer here is answered by nobody.
func frameOf(t *testing.T, f *sdk.DNS, port uint16) []byte {
	t.Helper()
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{ID: port, Response: f.Response, RecursionDesired: true, RecursionAvailable: f.Response, RCode: dnsmessage.RCode(f.RCode)})
	name, err := dnsmessage.NewName(strings.TrimSuffix(f.Query, ".") + ".")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.StartQuestions(); err != nil {
		t.Fatal(err)
	}
	if err := b.Question(dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}); err != nil {
		t.Fatal(err)
	}
	message, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	from, to := netip.AddrPortFrom(f.Client, port), netip.AddrPortFrom(server, 53)
	if f.Response {
		from, to = to, from
	}
	out := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0}
	out = binary.BigEndian.AppendUint16(out, uint16(28+len(message)))
	out = append(out, 0, 0, 0, 0, 64, 17, 0, 0)
	src, dst := from.Addr().As4(), to.Addr().As4()
	out = append(append(out, src[:]...), dst[:]...)
	for _, v := range []uint16{from.Port(), to.Port(), uint16(8 + len(message)), 0} {
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return append(out, message...)
}
