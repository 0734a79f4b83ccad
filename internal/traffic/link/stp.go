package link

import (
	"encoding/binary"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// STP is the fact of a message of spanning tree: STP, RSTP, and the head of MSTP (IEEE 802.1D, 802.1w, 802.1Q).
type STP struct {
	Source         MAC   // of the frame
	Version        uint8 // 0 STP, 2 RSTP, 3 MSTP
	Kind           uint8 // 0 configuration, 2 the same of RSTP, 0x80 a change of the topology
	Flags          uint8 // by bit: 0 the topology changes, 7 acknowledges that it did
	RootPriority   uint16
	Root           MAC
	Cost           uint32 // to the root
	BridgePriority uint16
	Bridge         MAC
	Port           uint16
}

func (m *STP) read(_ *app.Flow, f *frame) bool {
	const head, size, change = 4, 35, 0x80
	b := f.body
	if len(b) < head || binary.BigEndian.Uint16(b) != 0 {
		return false
	}
	*m = STP{Source: f.source, Version: b[2], Kind: b[3]}
	if m.Kind == change {
		return true
	}
	if len(b) < size || m.Kind != 0 && m.Kind != 2 {
		return false
	}
	m.Flags = b[4]
	m.RootPriority, m.Root, m.Cost = binary.BigEndian.Uint16(b[5:]), MAC(b[7:]), binary.BigEndian.Uint32(b[13:])
	m.BridgePriority, m.Bridge, m.Port = binary.BigEndian.Uint16(b[17:]), MAC(b[19:]), binary.BigEndian.Uint16(b[25:])
	return true
}
