// Package flowref remembers flows that may become evidence. A sdk.FlowRef is five texts, some 200 bytes; a detector that
// holds a hundred thousand of them holds little else. In go flows and out come references of 32 bytes without a pointer,
// from which the texts are made when a finding needs them.
package flowref

import (
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/saved"
	"github.com/picketwatch/picket/sdk"
)

// Ref names a flow, together with its addresses and protocol, which whoever keeps it has anyway.
type Ref struct {
	ID               uint64
	SrcPort, DstPort uint16
	community        [sumSize]byte // of zeros for none
}

// A community id of version 1 is its version and a SHA-1 sum.
const (
	version = "1:"
	sumSize = 20
)

var sumText = base64.StdEncoding.EncodedLen(sumSize)

// Of returns the reference of a flow.
func Of(f *sdk.Flow) Ref {
	return Ref{ID: f.ID, SrcPort: f.SrcPort, DstPort: f.DstPort, community: parse(f.CommunityID)}
}

// From is Of for a reference with its texts, as snapshots hold it.
func From(r sdk.FlowRef) Ref {
	return Ref{ID: r.ID, SrcPort: portOf(r.Src), DstPort: portOf(r.Dst), community: parse(r.CommunityID)}
}

// Full returns the reference with its texts.
func (r *Ref) Full(src, dst netip.Addr, proto uint8) sdk.FlowRef {
	f := sdk.Flow{ID: r.ID, CommunityID: r.communityID(), Src: src, SrcPort: r.SrcPort, Dst: dst, DstPort: r.DstPort, Proto: proto}
	return f.Ref()
}

func (r *Ref) communityID() string {
	if r.community == [sumSize]byte{} {
		return ""
	}
	return version + base64.StdEncoding.EncodeToString(r.community[:])
}

// parse reads a community id. Every flow has one of version 1 or none; another text is left out.
func parse(text string) (sum [sumSize]byte) {
	digits, known := strings.CutPrefix(text, version)
	if !known || len(digits) != sumText {
		return sum
	}
	var room [sumSize + 1]byte // for the byte that the padding stands for
	if n, err := base64.StdEncoding.Decode(room[:], []byte(digits)); err != nil || n != sumSize {
		return sum
	}
	return [sumSize]byte(room[:])
}

// AppendTo writes the reference behind b, for Read.
func (r *Ref) AppendTo(b []byte) []byte {
	b = binary.AppendUvarint(b, r.ID)
	b = binary.AppendUvarint(b, uint64(r.SrcPort))
	b = binary.AppendUvarint(b, uint64(r.DstPort))
	return append(b, r.community[:]...)
}

// Read reads what AppendTo wrote.
func Read(p *saved.Packed) Ref {
	r := Ref{ID: p.Uint(), SrcPort: uint16(p.Uint()), DstPort: uint16(p.Uint())}
	p.Fill(r.community[:])
	return r
}

func portOf(text string) uint16 {
	a, err := netip.ParseAddrPort(text)
	if err != nil {
		return 0 // a flow without an address has no port either
	}
	return a.Port()
}
