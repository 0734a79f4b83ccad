package link

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// LLDP is the fact of an announcement of LLDP (IEEE 802.1AB), with what LLDP-MED adds about the device (ANSI/TIA-1057).
type LLDP struct {
	Source        MAC    // of the frame
	Chassis       string // address or name that identifies the device
	ChassisMAC    MAC    // where that is a hardware address
	Port          string // of the device, that it sends from
	PortText      string
	TTL           uint16 // seconds that it holds; 0 takes the announcement back
	Name          string // of the system
	Description   string // of the system
	Capabilities  uint16 // what it can be, by bit: 1 repeater, 2 bridge, 3 access point, 4 router, 5 telephone, 7 station
	Enabled       uint16 // what it is, in the same bits
	Addrs         []netip.Addr
	VLAN          uint16 // of the port
	Hardware      string // revision
	Firmware      string
	Software      string
	Serial        string
	Vendor, Model string
	Asset         string
	Damaged       bool
}

// Bits of Capabilities.
const (
	CanRepeat   = 1 << 1
	CanBridge   = 1 << 2
	CanAccess   = 1 << 3 // a wireless access point
	CanRoute    = 1 << 4
	CanPhone    = 1 << 5
	CanBeEndHub = 1 << 7 // a station only
)

// Limits.
const (
	maxFields = 256 // of a message
	maxAddrs  = 16
)

// Kinds of a field.
const (
	lldpEnd          = 0
	lldpChassis      = 1
	lldpPort         = 2
	lldpTTL          = 3
	lldpPortText     = 4
	lldpName         = 5
	lldpDescription  = 6
	lldpCapabilities = 7
	lldpAddress      = 8
	lldpVendor       = 127
)

func (m *LLDP) read(to *app.Flow, f *frame) bool {
	*m = LLDP{Source: f.source, Addrs: m.Addrs[:0]}
	b := f.body
	if len(b) < 2 || b[0]>>1 != lldpChassis {
		return false
	}
	for range maxFields {
		if len(b) < 2 {
			m.Damaged = true
			return true
		}
		head := binary.BigEndian.Uint16(b)
		kind, size := head>>9, int(head&0x1ff)
		if b = b[2:]; kind == lldpEnd {
			return true
		}
		if size > len(b) {
			m.Damaged = true
			return true
		}
		m.field(to, kind, b[:size])
		b = b[size:]
	}
	to.Cut(len(b))
	return true
}

func (m *LLDP) field(to *app.Flow, kind uint16, v []byte) {
	switch kind {
	case lldpChassis:
		m.Chassis, m.ChassisMAC = identifier(v, 4, 5)
	case lldpPort:
		m.Port, _ = identifier(v, 3, 4)
	case lldpTTL:
		if len(v) >= 2 {
			m.TTL = binary.BigEndian.Uint16(v)
		}
	case lldpPortText:
		m.PortText = ot.Text(v)
	case lldpName:
		m.Name = ot.Text(v)
	case lldpDescription:
		m.Description = ot.Text(v)
	case lldpCapabilities:
		if len(v) >= 4 {
			m.Capabilities, m.Enabled = binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])
		}
	case lldpAddress:
		m.address(to, v)
	case lldpVendor:
		m.vendor(v)
	}
}

// identifier reads the id of a chassis or a port, whose first byte says what it is.
func identifier(v []byte, macKind, addrKind byte) (string, MAC) {
	if len(v) < 2 {
		return "", MAC{}
	}
	kind, v := v[0], v[1:]
	switch {
	case kind == macKind && len(v) == len(MAC{}):
		return MAC(v).String(), MAC(v)
	case kind == macKind:
		return hex.EncodeToString(v), MAC{}
	case kind == addrKind:
		if a, ok := familyAddr(v[0], v[1:]); ok {
			return a.String(), MAC{}
		}
		return hex.EncodeToString(v), MAC{}
	}
	return ot.Text(v), MAC{}
}

// familyAddr is an address after the number of its family.
func familyAddr(family byte, v []byte) (netip.Addr, bool) {
	if family == 1 && len(v) == 4 || family == 2 && len(v) == 16 {
		return netip.AddrFromSlice(v)
	}
	return netip.Addr{}, false
}

// address reads an address of management: a length that includes its family.
func (m *LLDP) address(to *app.Flow, v []byte) {
	if len(v) < 2 || v[0] < 2 || int(v[0]) > len(v)-1 {
		return
	}
	a, ok := familyAddr(v[1], v[2:][:v[0]-1])
	switch {
	case !ok:
	case len(m.Addrs) < maxAddrs:
		m.Addrs = append(m.Addrs, a)
	default:
		to.Cut(1)
	}
}

// vendor reads what organisations added: IEEE 802.1 the VLAN, TIA the inventory.
func (m *LLDP) vendor(v []byte) {
	const head = 4
	if len(v) < head {
		return
	}
	kind, text := v[3], v[head:]
	switch string(v[:3]) {
	case "\x00\x80\xc2":
		if kind == 1 && len(text) >= 2 {
			m.VLAN = binary.BigEndian.Uint16(text)
		}
	case "\x00\x12\xbb":
		if to := m.inventory(kind); to != nil {
			*to = ot.Text(text)
		}
	}
}

func (m *LLDP) inventory(kind byte) *string {
	switch kind {
	case 5:
		return &m.Hardware
	case 6:
		return &m.Firmware
	case 7:
		return &m.Software
	case 8:
		return &m.Serial
	case 9:
		return &m.Vendor
	case 10:
		return &m.Model
	case 11:
		return &m.Asset
	}
	return nil
}
