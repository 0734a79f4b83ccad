package issue

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/bare"
	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func at(client byte, after time.Duration, signs uint32) *Seen {
	s := Of(&sdk.Seen{Flow: 7, Packet: 1, Time: noon.Add(after), Client: netip.AddrFrom4([4]byte{10, 0, 0, client}), ClientPort: 40000, ServerPort: 443, Proto: sdk.ProtoTCP})
	s.Signs, s.Name = signs, "name"
	return &s
}

func key(server byte) Key {
	return Key{Server: bare.Of(netip.AddrFrom4([4]byte{10, 0, 1, server})), Port: 443, Rule: 1}
}

func TestAMatterGrows(t *testing.T) {
	table, told := New(2), []uint32{}
	tell := func(i *Issue) error {
		told = append(told, i.Count)
		return nil
	}
	see := func(k Key, s *Seen) {
		t.Helper()
		if err := table.See(k, s, tell); err != nil {
			t.Fatal(err)
		}
	}
	see(key(1), at(1, 0, 1))             // new
	see(key(1), at(2, time.Second, 1))   // the same
	see(key(1), at(3, time.Minute, 2))   // another sign
	see(key(1), at(3, 2*time.Minute, 3)) // nothing new
	see(key(1), at(3, 26*time.Hour, 1))  // another matter: the rest of the first, then this one
	see(key(2), at(3, 26*time.Hour, 1))  // new
	see(key(1), at(3, 26*time.Hour, 1))  // the same
	see(key(3), at(3, 26*time.Hour, 1))  // new, and the second goes, of which all is told
	state := table.AppendTo(nil)
	if err := table.Flush(tell); err != nil { // the first has grown
		t.Fatal(err)
	}
	want := []uint32{1, 3, 4, 1, 1, 1, 2}
	if len(told) != len(want) {
		t.Fatalf("told %v, want %v", told, want)
	}
	for i := range want {
		if told[i] != want[i] {
			t.Errorf("told %v, want %v", told, want)
		}
	}
	if table.Forgotten != 1 {
		t.Errorf("%d forgotten", table.Forgotten)
	}
	again := New(2)
	if err := again.Read(saved.NewPacked(state), 2); err != nil || !bytes.Equal(again.AppendTo(nil), state) {
		t.Errorf("the memory is another one after it was read (%v)", err)
	}
	if other := New(2); other.Read(saved.NewPacked(state), 1) == nil {
		t.Error("a rule that does not exist is taken")
	}
}

func TestFinding(t *testing.T) {
	table := New(2)
	var f sdk.Finding
	for i := range byte(3) {
		if err := table.See(key(1), at(i+1, time.Duration(i)*time.Second, uint32(1)<<i), func(i *Issue) error {
			f = i.Finding(sdk.SeverityLow, 0.8)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if f.Src != "" || f.Dst != "10.0.1.1:443" || f.Risk != 30 || f.Features["clients"] != 3 || len(f.Flows) != 1 || f.Flows[0].Src != "10.0.0.1:40000" || !f.End.Equal(noon.Add(2*time.Second)) {
		t.Errorf("%+v", f)
	}
}
