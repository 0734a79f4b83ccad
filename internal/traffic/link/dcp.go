package link

import (
	"encoding/binary"
	"net/netip"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// DCP is the fact of a message of PROFINET's discovery and configuration protocol (IEC 61158-6-10): who is there, and the
// giving of names and addresses.
type DCP struct {
	Source   MAC    // of the frame
	Target   MAC    // of the frame, where it has one
	Service  uint8  // 3 get, 4 set, 5 identify, 6 hello
	Name     string // of the service
	Action   ot.Action
	Response bool
	Failed   bool // an answer says that the service or a block of it was refused
	XID      uint32

	Station  string // name of the station
	Vendor   string // what the station calls its kind
	Alias    string
	VendorID uint16
	DeviceID uint16
	Role     uint8 // by bit: 0 device, 1 controller, 2 multidevice, 3 supervisor
	IP       netip.Addr
	Mask     netip.Addr
	Gateway  netip.Addr
	Order    string // its number in the manufacturer's catalogue
	Signal   bool   // it is to blink
	Reset    bool   // it is to forget its settings
	Damaged  bool
}

// services of DCP, by number.
var services = [...]struct {
	name   string
	action ot.Action
}{3: {"get", ot.Read}, 4: {"set", ot.Write}, 5: {"identify", ot.Discover}, 6: {"hello", ot.Discover}}

func (m *DCP) read(to *app.Flow, f *frame) bool {
	const header, first, last, response = 12, 0xfefc, 0xfeff, 1
	b := f.body
	if len(b) < header || binary.BigEndian.Uint16(b) < first || binary.BigEndian.Uint16(b) > last {
		return false
	}
	service, kind := b[2], b[3]
	*m = DCP{Source: f.source, Target: f.target, Service: service, Response: kind&response != 0, Failed: kind&4 != 0, XID: binary.BigEndian.Uint32(b[4:])}
	if int(service) < len(services) {
		m.Name, m.Action = services[service].name, services[service].action
	}
	if m.Name == "" {
		return false
	}
	size := int(binary.BigEndian.Uint16(b[10:]))
	b = b[header:]
	m.Damaged = size > len(b)
	m.blocks(to, b[:min(size, len(b))])
	return true
}

// blocks reads what was asked, given or told. Where a block says something about what follows (a request to set, any answer),
// two bytes stand before its value.
func (m *DCP) blocks(to *app.Flow, b []byte) {
	const header, get, set, control, answer, refused = 4, 3, 4, 5, 4, 0
	if m.Service == get && !m.Response {
		return // names of what is asked for only
	}
	qualified := m.Response || m.Service == set || m.Service == 6
	for range maxFields {
		if len(b) == 0 {
			return
		}
		if len(b) < header {
			m.Damaged = true
			return
		}
		option, sub, size := b[0], b[1], int(binary.BigEndian.Uint16(b[2:]))
		if b = b[header:]; size > len(b) {
			m.Damaged = true
			return
		}
		v := b[:size]
		if option == control && sub == answer && m.Response {
			m.Failed = m.Failed || len(v) >= 3 && v[2] != refused
		} else {
			if qualified && len(v) >= 2 {
				v = v[2:]
			}
			m.block(uint16(option)<<8|uint16(sub), v)
		}
		b = b[min(len(b), size+size&1):] // blocks are padded to an even length
	}
	to.Cut(len(b))
}

func (m *DCP) block(kind uint16, v []byte) {
	switch kind {
	case 0x0102:
		if len(v) >= 12 {
			m.IP, m.Mask, m.Gateway = netip.AddrFrom4([4]byte(v)), netip.AddrFrom4([4]byte(v[4:])), netip.AddrFrom4([4]byte(v[8:]))
		}
	case 0x0201:
		m.Vendor = ot.Text(v)
	case 0x0202:
		m.Station = ot.Text(v)
	case 0x0203:
		if len(v) >= 4 {
			m.VendorID, m.DeviceID = binary.BigEndian.Uint16(v), binary.BigEndian.Uint16(v[2:])
		}
	case 0x0204:
		if len(v) >= 1 {
			m.Role = v[0]
		}
	case 0x0206:
		m.Alias = ot.Text(v)
	case 0x0208:
		m.Order = ot.Text(v)
	case 0x0503:
		m.Signal = true
	case 0x0505, 0x0506:
		m.Reset = true
	}
}
