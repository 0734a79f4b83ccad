package carve

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/worker"
	"github.com/picketwatch/picket/sdk"
)

// answer is what one run said.
type answer struct {
	pieces [][]byte
	err    string
	done   bool
}

func run(t *testing.T, path string, w carved.Wanted) answer {
	t.Helper()
	in, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	failed := Run(context.Background(), in, &out, w)
	var a answer
	for b := out.Bytes(); len(b) > 0; {
		size, kind := int(binary.LittleEndian.Uint32(b)), b[4]
		body := b[5 : 5+size]
		b = b[5+size:]
		switch kind {
		case worker.KindPiece:
			a.pieces = append(a.pieces, body)
		case worker.KindDone:
			a.done = true
		case worker.KindError:
			var e worker.Error
			if err := json.Unmarshal(body, &e); err != nil {
				t.Fatal(err)
			}
			a.err = e.Message
		}
	}
	if (failed == nil) != a.done || (a.err != "") == a.done {
		t.Fatalf("it returned %v and said %+v", failed, a)
	}
	return a
}

func (a answer) file() []byte { return bytes.Join(a.pieces, nil) }

func (a answer) packets(t *testing.T) (list []carved.DecodedPacket) {
	t.Helper()
	for _, body := range a.pieces {
		var p carved.DecodedPacket
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list
}

// flowsOf are the flows of a capture as the worker numbers them.
func flowsOf(t *testing.T, data io.Reader) (list []sdk.Flow, damaged bool) {
	t.Helper()
	_, err := traffic.Analyze(context.Background(), data, traffic.Options{}, func(flows []sdk.Flow) error {
		for _, f := range flows {
			f.Packets = slices.Clone(f.Packets)
			list = append(list, f)
		}
		return nil
	})
	var damage *capture.DamagedError
	if err != nil && !errors.As(err, &damage) {
		t.Skip(err)
	}
	return list, damage != nil
}

func captures(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("../../../../shared/pcaps/*cap*")
	if err != nil {
		t.Fatal(err)
	}
	return append(list, "../../../examples/datasets/first-light/first-light.pcap")
}

// What is carved out of a capture is a capture of that one flow: the same packets, bytes, times and ends.
func TestACarvedFlowIsThatFlow(t *testing.T) {
	for _, path := range captures(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			flows, _ := flowsOf(t, bytes.NewReader(data))
			step := max(1, len(flows)/4)
			for i := 0; i < len(flows); i += step {
				want := flows[i]
				a := run(t, path, carved.Wanted{Flow: want.ID})
				if strings.Contains(a.err, "link type") {
					continue
				}
				if n := records(t, a.file()); n != want.FwdPackets+want.RevPackets {
					t.Errorf("%d packets of flow %d, which has %d", n, want.ID, want.FwdPackets+want.RevPackets)
				}
				if want.End.Unix() > math.MaxUint32 || fragmented(t, a.file()) {
					continue // no pcap file tells such times; some fragments belong to no flow without those of other flows
				}
				got, _ := flowsOf(t, bytes.NewReader(a.file()))
				if len(got) != 1 {
					t.Fatalf("flow %d became %d flows", want.ID, len(got))
				}
				if g := got[0]; g.FwdPackets != want.FwdPackets || g.RevPackets != want.RevPackets || g.FwdBytes != want.FwdBytes ||
					g.RevBytes != want.RevBytes || !g.Start.Equal(want.Start) || !g.End.Equal(want.End) || g.CommunityID != want.CommunityID ||
					g.VLAN != want.VLAN || g.FwdFlags != want.FwdFlags {
					t.Errorf("flow %d is\n%+v, carved\n%+v", want.ID, want, g)
				}
				list := run(t, path, carved.Wanted{Flow: want.ID, Limit: sdk.FlowPackets}).packets(t)
				for i, n := range want.Packets[:min(len(want.Packets), len(list))] {
					if list[i].Number != n {
						t.Errorf("flow %d: packet %d is number %d, not %d", want.ID, i, list[i].Number, n)
					}
				}
			}
		})
	}
}

// records is how many packets a file holds.
func records(t *testing.T, file []byte) (n uint64) {
	t.Helper()
	for range packetsOf(t, file) {
		n++
	}
	return n
}

func packetsOf(t *testing.T, file []byte) iter.Seq[*capture.Packet] {
	t.Helper()
	r, err := capture.Open(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*capture.Packet) bool) {
		var p capture.Packet
		for r.Next(&p) == nil && yield(&p) {
		}
	}
}

func fragmented(t *testing.T, file []byte) bool {
	t.Helper()
	sum, err := traffic.Analyze(context.Background(), bytes.NewReader(file), traffic.Options{}, func([]sdk.Flow) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return sum.Fragments.Joined+sum.Fragments.GivenUp > 0
}

// Every packet of every capture can be shown: each layer and field lies in it and within the bounds.
func TestEveryPacketCanBeShown(t *testing.T) {
	shown := 0
	for _, path := range captures(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := capture.Open(bytes.NewReader(data))
		if err != nil {
			continue
		}
		var p capture.Packet
		for r.Next(&p) == nil {
			check(t, &p)
			shown++
		}
	}
	if shown < 1000 {
		t.Fatalf("only %d packets", shown)
	}
}

// check holds what was read of a packet against the bounds that the server checks.
func check(t *testing.T, p *capture.Packet) carved.DecodedPacket {
	t.Helper()
	d := Dissect(p)
	all := len(p.Data)
	if len(d.Layers) > carved.MaxLayers || len(d.Hex) > 2*carved.MaxBytes {
		t.Fatalf("packet %d: %d layers, %d digits", p.Number, len(d.Layers), len(d.Hex))
	}
	at := 0
	for _, l := range d.Layers {
		if l.Offset != at || l.Length < 0 || l.Offset+l.Length > all || len(l.Fields) > carved.MaxFields || len(l.Error) > carved.MaxText {
			t.Fatalf("packet %d of %d bytes, at %d: %+v\nall: %+v", p.Number, all, at, l, d.Layers)
		}
		at += l.Length
		for _, f := range l.Fields {
			if f.Offset < l.Offset || f.Length < 0 || f.Offset+f.Length > all || len(f.Value) > carved.MaxText {
				t.Fatalf("packet %d: %s: %+v", p.Number, l.Name, f)
			}
		}
	}
	if at != all {
		t.Fatalf("packet %d of %d bytes: the layers hold %d: %+v", p.Number, all, at, d.Layers)
	}
	return d
}

func FuzzDissect(f *testing.F) {
	frame := append(make([]byte, 12), 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6)
	f.Add(uint16(1), append(frame, make([]byte, 28)...))
	f.Add(uint16(101), []byte{0x60, 0, 0, 0, 0, 8, 58, 64})
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		p := capture.Packet{Number: 1, Link: capture.LinkType(link), Length: uint32(len(data)), Data: data}
		if _, err := json.Marshal(check(t, &p)); err != nil {
			t.Fatal(err)
		}
	})
}

const firstLight = "../../../examples/datasets/first-light/first-light.pcap"

func TestPages(t *testing.T) {
	data, err := os.ReadFile(firstLight)
	if err != nil {
		t.Fatal(err)
	}
	flows, _ := flowsOf(t, bytes.NewReader(data))
	long := slices.MaxFunc(flows, func(a, b sdk.Flow) int {
		return int(a.FwdPackets+a.RevPackets) - int(b.FwdPackets+b.RevPackets)
	})
	n := int(long.FwdPackets + long.RevPackets)
	var paged []uint64
	for after := uint64(0); ; {
		list := run(t, firstLight, carved.Wanted{Flow: long.ID, After: after, Limit: 3}).packets(t)
		if len(list) == 0 {
			break
		}
		for _, p := range list {
			paged = append(paged, p.Number)
			after = p.Number
			if (p.Direction == "forward") != strings.HasPrefix(p.Src, long.Src.String()) {
				t.Errorf("packet %d from %s is %s; the initiator is %s", p.Number, p.Src, p.Direction, long.Src)
			}
		}
	}
	if len(paged) != n || !slices.IsSorted(paged) {
		t.Errorf("%d packets on the pages, the flow has %d: %v", len(paged), n, paged)
	}
}

func TestByNumber(t *testing.T) {
	want := []uint64{2, 5, 7}
	var got []uint64
	for _, p := range run(t, firstLight, carved.Wanted{Numbers: want, Limit: 10}).packets(t) {
		got = append(got, p.Number)
		if p.Direction != "none" || len(p.Layers) < 3 || p.Protocol == "unknown" {
			t.Errorf("%+v", p)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	if n := records(t, run(t, firstLight, carved.Wanted{Numbers: want}).file()); n != 3 {
		t.Errorf("%d packets in the file", n)
	}
}

func TestNothingThere(t *testing.T) {
	for _, w := range []carved.Wanted{{Flow: 1 << 40}, {Numbers: []uint64{1 << 40}}, {Flow: 1 << 40, Limit: 5}} {
		if a := run(t, firstLight, w); len(a.pieces) > 0 || !a.done {
			t.Errorf("%+v: %d pieces, %+v", w, len(a.pieces), a)
		}
	}
	if a := run(t, "carve.go", carved.Wanted{Flow: 1}); !strings.Contains(a.err, "not a capture") {
		t.Errorf("a file that is no capture: %+v", a)
	}
}

// A flow that ends early in the file is not looked for behind its end.
func TestReadingStopsWithTheFlow(t *testing.T) {
	data, err := os.ReadFile(firstLight)
	if err != nil {
		t.Fatal(err)
	}
	flows, _ := flowsOf(t, bytes.NewReader(data))
	early := flows[0] // the first that was closed
	f := &finder{want: carved.Wanted{Flow: early.ID}, sink: &reading{out: &output{to: io.Discard}}}
	in, err := os.Open(firstLight)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := f.find(context.Background(), in, &output{to: io.Discard}); err != nil {
		t.Fatal(err)
	}
	all := 0
	for _, x := range flows {
		all += int(x.FwdPackets + x.RevPackets)
	}
	if f.current.Number >= uint64(all) {
		t.Errorf("read %d of %d packets", f.current.Number, all)
	}
}

func TestParseNumbers(t *testing.T) {
	if got, err := ParseNumbers("3,7,12"); err != nil || !slices.Equal(got, []uint64{3, 7, 12}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "0", "7,3", "x", "1,,2", strings.Repeat("1,", maxNumbers) + "1"} {
		if got, err := ParseNumbers(bad); err == nil {
			t.Errorf("%.20q: %v", bad, got)
		}
	}
}
