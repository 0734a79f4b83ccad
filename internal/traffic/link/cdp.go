package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// CDP is the fact of an announcement of the Cisco Discovery Protocol, versions 1 and 2.
type CDP struct {
	Source       MAC // of the frame
	Version      uint8
	TTL          uint8 // seconds that it holds
	Device       string
	Addrs        []netip.Addr
	Port         string
	Capabilities uint32 // by bit: 0 router, 1 and 2 bridge, 3 switch, 4 host, 6 repeater, 7 telephone
	Software     string // several lines
	Platform     string
	Domain       string // of VTP
	VLAN         uint16 // native
	Name         string // of the system
	Management   []netip.Addr
	Damaged      bool
}

// Bits of CDP.Capabilities.
const (
	CiscoRouter  = 1 << 0
	CiscoBridge  = 1<<1 | 1<<2
	CiscoSwitch  = 1 << 3
	CiscoHost    = 1 << 4
	CiscoRepeats = 1 << 6
	CiscoPhone   = 1 << 7
)

// Kinds of a field.
const (
	cdpDevice       = 0x01
	cdpAddresses    = 0x02
	cdpPort         = 0x03
	cdpCapabilities = 0x04
	cdpSoftware     = 0x05
	cdpPlatform     = 0x06
	cdpDomain       = 0x09
	cdpVLAN         = 0x0a
	cdpName         = 0x14
	cdpManagement   = 0x16
)

func (m *CDP) read(to *app.Flow, f *frame) bool {
	const header, fieldHeader = 4, 4
	b := f.body
	if len(b) < header || b[0] == 0 || b[0] > 2 {
		return false
	}
	*m = CDP{Source: f.source, Version: b[0], TTL: b[1], Addrs: m.Addrs[:0], Management: m.Management[:0]}
	b = b[header:]
	for range maxFields {
		if len(b) == 0 {
			return true
		}
		if len(b) < fieldHeader {
			m.Damaged = true
			return true
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if size < fieldHeader || size > len(b) {
			m.Damaged = true
			return true
		}
		m.field(to, binary.BigEndian.Uint16(b), b[fieldHeader:size])
		b = b[size:]
	}
	to.Cut(len(b))
	return true
}

func (m *CDP) field(to *app.Flow, kind uint16, v []byte) {
	switch kind {
	case cdpDevice:
		m.Device = ot.Text(v)
	case cdpPort:
		m.Port = ot.Text(v)
	case cdpSoftware:
		m.Software = ot.Text(v)
	case cdpPlatform:
		m.Platform = ot.Text(v)
	case cdpDomain:
		m.Domain = ot.Text(v)
	case cdpName:
		m.Name = ot.Text(v)
	case cdpCapabilities:
		if len(v) >= 4 {
			m.Capabilities = binary.BigEndian.Uint32(v)
		}
	case cdpVLAN:
		if len(v) >= 2 {
			m.VLAN = binary.BigEndian.Uint16(v)
		}
	case cdpAddresses:
		m.Addrs = m.addresses(to, m.Addrs, v)
	case cdpManagement:
		m.Management = m.addresses(to, m.Management, v)
	}
}

// addresses reads a list: a count, then for each address its protocol and its bytes, both after their lengths.
func (m *CDP) addresses(to *app.Flow, list []netip.Addr, v []byte) []netip.Addr {
	if len(v) < 4 {
		return list
	}
	count := binary.BigEndian.Uint32(v)
	v = v[4:]
	for ; count > 0 && len(v) > 0; count-- {
		if len(v) < 2 || len(v) < 2+int(v[1])+2 {
			m.Damaged = true
			return list
		}
		v = v[2:][v[1]:]
		size := int(binary.BigEndian.Uint16(v))
		if v = v[2:]; size > len(v) {
			m.Damaged = true
			return list
		}
		if a, ok := netip.AddrFromSlice(v[:size]); ok {
			if len(list) < maxAddrs {
				list = append(list, a)
			} else {
				to.Cut(1)
			}
		}
		v = v[size:]
	}
	return list
}
