package flowbatch

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/records"
)

func frame(ids ...uint64) []byte {
	var flows []sdk.Flow
	for _, id := range ids {
		flows = append(flows, sdk.Flow{ID: id, Src: netip.MustParseAddr("10.0.0.1"), Dst: netip.MustParseAddr("10.0.0.2"), Proto: sdk.ProtoUDP})
	}
	return records.AppendFlows(nil, flows)
}

func TestThereAndBack(t *testing.T) {
	first, second := frame(1, 2), frame(3)
	b := Batch{Run: "r", Interface: "eth0"}
	if err := b.Pack(append(bytes.Clone(first), second...)); err != nil {
		t.Fatal(err)
	}
	frames, err := b.Unpack()
	if err != nil || len(frames) != 2 || !bytes.Equal(frames[0].Frame, first) || !bytes.Equal(frames[1].Frame, second) {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
}

// TestFeaturesTravelBesideTheirFlows packs features before their flows, and what must not be.
func TestFeaturesTravelBesideTheirFlows(t *testing.T) {
	flows := []sdk.Flow{{ID: 1, Features: &sdk.Features{LenMean: 1.5}}, {ID: 2, Features: &sdk.Features{}}}
	short, features := records.AppendShortFlows(nil, flows), records.PackFeatures(nil, flows)
	b := Batch{Run: "r", Interface: "eth0"}
	if err := b.Pack(slices.Concat(frame(3), features, short, frame(4))); err != nil {
		t.Fatal(err)
	}
	list, err := b.Unpack()
	if err != nil || len(list) != 3 || list[0].Features != nil || !bytes.Equal(list[1].Features, features) || !bytes.Equal(list[1].Frame, short) || list[2].Features != nil {
		t.Fatalf("%d parcels, %v", len(list), err)
	}
	damaged := bytes.Clone(features)
	damaged[len(damaged)-1] ^= 1
	facts := records.AppendFacts(nil, []sdk.DNS{{Query: "example.com"}})
	for says, plain := range map[string][]byte{
		"without their flows":     slices.Concat(short, features),
		"features of 2 flows":     slices.Concat(features, frame(3)),
		"neither of flows":        slices.Concat(features, features, short),
		"before what are no flow": slices.Concat(features, facts),
		"checksum":                slices.Concat(damaged, short),
	} {
		if err := b.Pack(plain); err != nil {
			t.Fatal(err)
		}
		var is *Error
		if _, err := b.Unpack(); !errors.As(err, &is) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func TestWhatIsRefused(t *testing.T) {
	packed := func(plain []byte) Batch {
		b := Batch{Run: "r", Interface: "eth0"}
		if err := b.Pack(plain); err != nil {
			t.Fatal(err)
		}
		return b
	}
	wrong := frame(1)
	wrong[len(wrong)-1] ^= 1
	bomb, _ := zstd.NewWriter(nil)
	for says, b := range map[string]Batch{
		"run":          {Interface: "eth0"},
		"interface":    {Run: "r", Interface: strings.Repeat("x", 300)},
		"decompressed": {Run: "r", Interface: "eth0", Frames: []byte("nothing")},
		"exceeds":      {Run: "r", Interface: "eth0", Frames: bomb.EncodeAll(make([]byte, 64<<20), nil)},
		"checksum":     packed(wrong),
		"frame 2":      packed(append(frame(1), "garbage"...)),
		"of facts":     packed(records.AppendFacts(nil, []sdk.DNS{{Query: strings.Repeat("x", records.MaxFacts)}})),
		"in files":     packed(records.AppendFacts(nil, []sdk.Content{{Data: []byte("x")}})),
		"neither":      packed(records.AppendPackets(nil, nil)),
	} {
		_, err := b.Unpack()
		var is *Error
		if !errors.As(err, &is) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	b := Batch{Run: "r", Interface: "i"}
	_ = b.Pack(frame(1, 2))
	f.Add(b.Frames)
	f.Fuzz(func(_ *testing.T, frames []byte) {
		b := Batch{Run: "r", Interface: "i", Frames: frames}
		_, _ = b.Unpack()
	})
}
