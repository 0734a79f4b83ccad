package arpspoof

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/picketwatch/picket/plugins/internal/plugintest"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
	"github.com/picketwatch/picket/sdk/sdktest"
)

func TestPage(t *testing.T) { plugintest.Page(t, "picket/arpspoof") }

func TestConformance(t *testing.T) { sdktest.Run(t, Plugin(), sdktest.Options{}) }

func TestCases(t *testing.T) { sdktest.Cases(t, Plugin(), "testdata") }

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// Cards and addresses of the tests: host n has card n and address 10.0.0.n. mallory is card 66 at 10.0.0.66.
const (
	router  = 1
	victim  = 7
	mallory = 66
	all     = 255
)

func cardOf(n int) mac { return mac{2, 0, 0, 0, 0, byte(n)} }

func ip(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// wire makes packets.
type wire struct {
	packets []sdk.Packet
	vlan    uint16
}

// send adds one packet that says: card `by` has address `sender`. to is the card that it goes to, `all` for everybody.
func (w *wire) send(seconds float64, reply bool, by, sender, target, to int) {
	b := make([]byte, 0, 64)
	if to == all {
		b = append(b, 255, 255, 255, 255, 255, 255)
	} else {
		m := cardOf(to)
		b = append(b, m[:]...)
	}
	from := cardOf(by)
	b = append(b, from[:]...)
	if w.vlan != 0 {
		b = binary.BigEndian.AppendUint16(append(b, 0x81, 0), w.vlan)
	}
	b = append(b, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1)
	if reply {
		b[len(b)-1] = 2
	}
	s, t := ip(sender).As4(), ip(target).As4()
	b = append(append(b, from[:]...), s[:]...)
	b = append(append(b, 0, 0, 0, 0, 0, 0), t[:]...)
	w.packets = append(w.packets, sdk.Packet{
		Number: uint64(len(w.packets) + 1), Time: noon.Add(time.Duration(seconds * float64(time.Second))), Link: linkEthernet, Length: 60, Data: b,
	})
}

func (w *wire) ask(at float64, by, want int)           { w.send(at, false, by, by, want, all) }
func (w *wire) answer(at float64, by, claimed, to int) { w.send(at, true, by, claimed, to, to) }
func (w *wire) announce(at float64, by, claimed int)   { w.send(at, false, by, claimed, claimed, all) }
func (w *wire) talk(at float64, from, to int)          { w.ask(at, from, to); w.answer(at+0.001, to, to, from) }

// office is ordinary traffic of ten hosts for half an hour.
func office(w *wire) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 10 {
		w.announce(float64(i), 20+i, 20+i)
	}
	for at := 10.0; at < 1800; at += 1 + 10*r.Float64() {
		from := 20 + r.IntN(10)
		w.talk(at, from, []int{router, 20 + r.IntN(10)}[r.IntN(2)])
	}
}

type sink struct{ findings []sdk.Finding }

func (s *sink) Finding(f sdk.Finding) error {
	s.findings = append(s.findings, f)
	return nil
}

// final returns the last finding of each id.
func (s *sink) final() []sdk.Finding {
	var out []sdk.Finding
	for _, f := range s.findings {
		if i := slices.IndexFunc(out, func(o sdk.Finding) bool { return sdk.FindingID(o) == sdk.FindingID(f) }); i >= 0 {
			out[i] = f
		} else {
			out = append(out, f)
		}
	}
	return out
}

func detector(tb testing.TB, text string) *Detector {
	tb.Helper()
	d := &Detector{}
	if err := config.Decode([]byte(text), d.Config()); err != nil {
		tb.Fatal(err)
	}
	if err := d.Start(context.Background(), nil); err != nil {
		tb.Fatal(err)
	}
	return d
}

func find(tb testing.TB, d *Detector, size int, packets []sdk.Packet) []sdk.Finding {
	tb.Helper()
	s := &sink{}
	for batch := range slices.Chunk(packets, size) {
		if err := d.Inspect(context.Background(), sdk.Batch{Packets: batch}, s); err != nil {
			tb.Fatal(err)
		}
	}
	if err := d.Flush(context.Background(), s); err != nil {
		tb.Fatal(err)
	}
	return s.final()
}

// said is what the findings come to: rule, card and address.
func said(findings []sdk.Finding) string {
	var out []string
	for _, f := range findings {
		out = append(out, f.Rule+" "+strings.TrimPrefix(f.Src, "02:00:00:00:00:")+" "+f.Dst)
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestFindings(t *testing.T) {
	for _, c := range []struct {
		what   string
		config string
		play   func(w *wire)
		want   string
	}{
		{"ordinary traffic", `{}`, office, ""},
		{"a spoofing tool between victim and router", `{}`, func(w *wire) {
			office(w)
			w.talk(1900, victim, router)
			w.talk(1901, mallory, victim)
			w.talk(1902, mallory, router)
			for i := range 10 {
				w.answer(1910+2*float64(i), mallory, router, victim)
				w.answer(1910.5+2*float64(i), mallory, victim, router)
			}
		}, "flood 42 , takeover 42 10.0.0.1, takeover 42 10.0.0.7"},
		{"one unasked answer is enough when the owner has been heard", `{}`, func(w *wire) {
			w.talk(0, victim, router)
			w.answer(60, mallory, router, victim)
		}, "takeover 42 10.0.0.1"},
		{"the owner is heard later", `{}`, func(w *wire) {
			w.answer(0, mallory, router, victim)
			w.talk(60, victim, router)
		}, "takeover 42 10.0.0.1"},
		{"the owner was heard too long ago", `{}`, func(w *wire) {
			w.talk(0, victim, router)
			w.answer(3600, mallory, router, victim)
		}, ""},
		{"the owner is silent, but the card has another address", `{}`, func(w *wire) {
			w.send(0, false, mallory, router, victim, victim)
			w.answer(0.001, victim, victim, router)
			w.answer(0.002, mallory, router, victim)
			w.ask(10, mallory, 9)
		}, "unasked 42 10.0.0.1"},
		{"spoofing by announcements, while the owner goes on", `{}`, func(w *wire) {
			for i := range 4 {
				w.talk(10*float64(i), victim, router)
				w.announce(10*float64(i)+5, mallory, router)
			}
		}, "takeover 42 10.0.0.1"},
		{"a failover: the old card stays silent", `{}`, func(w *wire) {
			w.talk(0, victim, 100)
			for i := range 5 {
				w.send(10+float64(i), false, mallory, 100, 100, all)
				w.send(10.5+float64(i), true, mallory, 100, 100, all)
			}
			w.ask(20, victim, 100)
			w.answer(20.1, mallory, 100, victim)
		}, ""},
		{"a router that answers for others", `{}`, func(w *wire) {
			for i := range 20 {
				at := 10 * float64(i)
				w.ask(at, victim, 20)
				w.answer(at+0.001, 20, 20, victim)
				w.answer(at+0.010, router, 20, victim)
				w.talk(at+5, victim, router)
			}
		}, ""},
		{"a bridge that puts its own card into all it passes on", `{}`, func(w *wire) {
			for i := range 20 {
				at := 10 * float64(i)
				w.announce(at, 20, 20)
				w.announce(at+0.00001, router, 20)
				w.ask(at+1, 20, victim)
				w.send(at+1.00001, false, router, 20, victim, all)
				w.answer(at+1.001, victim, victim, 20)
				w.answer(at+1.00102, router, victim, 20)
			}
		}, ""},
		{"an address that is handed on", `{}`, func(w *wire) {
			w.talk(0, 20, router)
			w.announce(100, 21, 20)
			w.talk(110, 20+1, router)
		}, ""},
		{"probes before an address is taken", `{}`, func(w *wire) {
			for i := range 30 {
				w.packets = append(w.packets, probe(len(w.packets)+1, float64(i)))
			}
		}, ""},
		{"a flood of announcements", `{}`, func(w *wire) {
			for i := range 25 {
				w.announce(2*float64(i), mallory, 100+i)
			}
		}, "flood 42 "},
		{"announcements that take their time", `{}`, func(w *wire) {
			for i := range 100 {
				w.announce(10*float64(i), mallory, 100)
			}
		}, ""},
		{"the other network does not count", `{}`, func(w *wire) {
			w.vlan = 10
			w.talk(0, victim, router)
			w.vlan = 20
			w.answer(60, mallory, router, victim)
		}, ""},
		{"inside a VLAN", `{}`, func(w *wire) {
			w.vlan = 10
			w.talk(0, victim, router)
			w.answer(60, mallory, router, victim)
		}, "takeover 42 10.0.0.1"},
		{"a card that may", `{"ignore_macs": ["02:00:00:00:00:42"]}`, func(w *wire) {
			w.talk(0, victim, router)
			w.answer(60, mallory, router, victim)
		}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			var w wire
			c.play(&w)
			got := find(t, detector(t, c.config), 1024, w.packets)
			if said(got) != c.want {
				t.Errorf("%q, want %q", said(got), c.want)
			}
			for _, f := range got {
				if len(f.Packets) == 0 || !slices.IsSorted(f.Packets) || f.End.Before(f.Start) || !slices.Equal(f.Techniques, []string{"T1557.002"}) {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

// probe asks for an address without having one.
func probe(number int, seconds float64) sdk.Packet {
	var w wire
	w.ask(seconds, 30, 31)
	p := w.packets[0]
	p.Number = uint64(number)
	copy(p.Data[28:32], []byte{0, 0, 0, 0})
	return p
}

func attack() []sdk.Packet {
	var w wire
	office(&w)
	for i := range 30 {
		w.talk(1900+10*float64(i), victim, router)
		w.answer(1905+10*float64(i), mallory, router, victim)
	}
	return w.packets
}

func TestEvidence(t *testing.T) {
	var w wire
	w.talk(0, victim, router) // packets 1 and 2
	w.answer(60, mallory, router, victim)
	got := find(t, detector(t, `{}`), 1, w.packets)
	if len(got) != 1 || !slices.Equal(got[0].Packets, []uint64{2, 3}) {
		t.Fatalf("%+v", got)
	}
	if want := "02:00:00:00:00:42 claims 10.0.0.1, which belongs to 02:00:00:00:00:01, without having been asked (seen once)"; got[0].Summary != want {
		t.Errorf("%s\nwant %s", got[0].Summary, want)
	}
}

func TestBatchesDoNotMatter(t *testing.T) {
	want := find(t, detector(t, `{}`), 100000, attack())
	if len(want) == 0 {
		t.Fatal("nothing found")
	}
	for _, size := range []int{1, 7, 256} {
		if got := find(t, detector(t, `{}`), size, attack()); !reflect.DeepEqual(got, want) {
			t.Errorf("with batches of %d: %s, want %s", size, said(got), said(want))
		}
	}
}

func TestFlushForgets(t *testing.T) {
	d := detector(t, `{}`)
	want := find(t, d, 64, attack())
	if got := find(t, d, 64, attack()); !reflect.DeepEqual(got, want) {
		t.Errorf("%s, want %s", said(got), said(want))
	}
	if got := find(t, d, 64, nil); len(got) != 0 {
		t.Errorf("nothing gave %s", said(got))
	}
}

func TestSnapshot(t *testing.T) {
	packets := attack()
	want := find(t, detector(t, `{}`), 64, packets)
	for _, cut := range []int{1, len(packets) / 3, len(packets) - 40, len(packets) - 1} {
		first, second, s := detector(t, `{}`), detector(t, `{}`), &sink{}
		if err := first.Inspect(t.Context(), sdk.Batch{Packets: packets[:cut]}, s); err != nil {
			t.Fatal(err)
		}
		state, err := first.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := second.Restore(t.Context(), state); err != nil {
			t.Fatal(err)
		}
		if err := second.Inspect(t.Context(), sdk.Batch{Packets: packets[cut:]}, s); err != nil {
			t.Fatal(err)
		}
		if err := second.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		if got := s.final(); !reflect.DeepEqual(got, want) {
			t.Errorf("cut at %d:\n%+v\nwant\n%+v", cut, got, want)
		}
	}
	for _, bad := range []string{"", "{", `{"version": 2}`} {
		if detector(t, `{}`).Restore(t.Context(), []byte(bad)) == nil {
			t.Errorf("%q was taken for a snapshot", bad)
		}
	}
}

// Whatever is sent, memory stays within its bounds, and the ordinary is not taken for an attack because of it.
func TestMemoryIsBounded(t *testing.T) {
	d := detector(t, `{"max_entries": 64}`)
	r := rand.New(rand.NewPCG(3, 4))
	s := &sink{}
	var w wire
	for i := range 20000 {
		w.packets = w.packets[:0]
		w.send(float64(i)/1000, r.IntN(2) == 0, r.IntN(250), r.IntN(250), r.IntN(250), r.IntN(256))
		for j := range 6 { // more cards than one byte has
			w.packets[0].Data[22+j] = byte(r.IntN(256)) &^ 1
		}
		if err := d.Inspect(t.Context(), sdk.Batch{Packets: w.packets}, s); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.owners.now) + len(d.owners.before); n > 64 {
		t.Errorf("%d addresses", n)
	}
	if n := len(d.tellers.now) + len(d.tellers.before); n > 64 {
		t.Errorf("%d cards", n)
	}
	if len(d.asked.at) > 64 || len(d.incidents.list) > maxIncidents {
		t.Errorf("%d questions, %d incidents", len(d.asked.at), len(d.incidents.list))
	}

	quiet := detector(t, `{"max_entries": 64}`)
	w = wire{}
	for i := range 5000 { // a network that is larger than the memory, all of it well behaved
		from, to := 2+r.IntN(250), 2+r.IntN(250)
		if from == to {
			continue
		}
		w.ask(float64(i)/100, from, to)
		if r.IntN(2) == 0 {
			w.answer(float64(i)/100+0.001, to, to, from)
		}
	}
	if got := find(t, quiet, 256, w.packets); len(got) != 0 {
		t.Errorf("found %s", said(got))
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, config := range []string{`{"window": "1s"}`, `{"ignore_macs": ["02:00"]}`, `{"ignore_macs": ["02:00:00:00:00:00:00:01"]}`, `{"flood_claims": 1}`, `{"x": 1}`} {
		if err := plugintest.Decode(&Detector{}, config); sdk.ClassOf(err) != sdk.InvalidConfig {
			t.Errorf("%s: %v", config, err)
		}
	}
}

// spoofed are the shared captures in which something must be found. The last one is ordinary traffic with bits changed at
// random, also in hardware addresses.
var spoofed = map[string]string{
	"atk-arp__chrissanders__arppoison.pcapng": "unasked 00:25:b3:bf:91:ee 172.16.0.1",
	"malformed__ntop__fuzz-2006-06-26-2594.pcap": "takeover 00:e0:ed:01:6e:3f 192.168.1.2, takeover 00:e0:ed:01:6e:bd 192.168.1.2, " +
		"unasked 00:e0:ed:01:6e:bd 192.168.1.2, unasked 00:e0:ed:01:6e:bd 192.184.1.2",
}

// TestSharedCaptures looks at all shared captures: what is asked for must be found, and nothing else.
func TestSharedCaptures(t *testing.T) {
	files, err := filepath.Glob("../../../../shared/pcaps/*.pcap*")
	if err != nil || len(files) == 0 {
		t.Skip("no shared captures at ../shared/pcaps")
	}
	packets := 0
	for _, file := range files {
		all, ok := readCapture(t, file)
		if !ok {
			continue // another test asks what becomes of broken captures
		}
		packets += len(all)
		if got, want := said(find(t, detector(t, `{}`), 1024, all)), spoofed[filepath.Base(file)]; got != want {
			t.Errorf("%s: %q, want %q", filepath.Base(file), got, want)
		}
	}
	t.Logf("%d ARP packets in %d captures", packets, len(files))
}

// readCapture returns the ARP packets of a capture as the host hands them out.
func readCapture(t *testing.T, file string) ([]sdk.Packet, bool) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	link, next, err := open(data)
	if err != nil {
		return nil, false
	}
	var out []sdk.Packet
	for n := uint64(1); ; n++ {
		b, at, err := next()
		if err != nil {
			return out, true
		}
		p := sdk.Packet{Number: n, Time: at, Link: link, Length: uint32(len(b)), Data: b[:min(len(b), 64)]}
		if _, ok := parse(&p); ok {
			out = append(out, p)
		}
	}
}

func open(data []byte) (link uint16, next func() ([]byte, time.Time, error), err error) {
	if len(data) > 4 && binary.LittleEndian.Uint32(data) == 0x0a0d0d0a {
		r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.DefaultNgReaderOptions)
		if err != nil {
			return 0, nil, err
		}
		return uint16(r.LinkType()), func() ([]byte, time.Time, error) {
			b, info, err := r.ReadPacketData()
			return b, info.Timestamp, err
		}, nil
	}
	r, err := pcapgo.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	return uint16(r.LinkType()), func() ([]byte, time.Time, error) {
		b, info, err := r.ReadPacketData()
		return b, info.Timestamp, err
	}, nil
}

func FuzzInspect(f *testing.F) {
	var w wire
	w.talk(0, victim, router)
	w.vlan = 5
	w.answer(60, mallory, router, victim)
	for _, p := range w.packets {
		f.Add(p.Data, p.Link, int64(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, link uint16, step int64) {
		d, s := detector(t, `{"max_entries": 64}`), &sink{}
		for i := range 3 {
			p := sdk.Packet{Number: uint64(i + 1), Time: time.Unix(0, int64(i)*step), Link: link, Data: data}
			if err := d.Inspect(t.Context(), sdk.Batch{Packets: []sdk.Packet{p}}, s); err != nil {
				t.Fatal(err)
			}
		}
		if err := d.Flush(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		for _, x := range s.findings {
			if x.Src == "" || len(x.Packets) == 0 {
				t.Errorf("%+v", x)
			}
		}
	})
}
