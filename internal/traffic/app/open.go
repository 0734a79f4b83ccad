package app

import "net/netip"

// OpenFlow is a flow that goes on and has carried much, as far as it was seen.
type OpenFlow struct {
	ID             uint64
	Name           string // of the protocol, "" while unknown
	Client, Server netip.AddrPort
	Guessed        bool // who the client is
	VLAN           uint16
	Transport      uint8
	Packet         uint64 // number of the first one
	Start, Time    int64  // of the first and of the latest packet
	Sent, Received uint64 // payload of the client and of the server
}

// WantsOpen reports whether somebody wants to be told of flows before they are closed.
func (e *Engine) WantsOpen() bool { return e.open != nil }

// TellOpen tells of a flow that goes on.
func (e *Engine) TellOpen(t *Tag, f *OpenFlow) {
	f.Name = e.Name(t)
	e.open(f)
}
