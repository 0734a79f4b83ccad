package link

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/ot"
)

// Wireless is the fact of a frame in which 802.11 tells or asks for the name of a network.
type Wireless struct {
	Source  MAC
	BSSID   MAC    // of the network, none in a probe
	Name    string // "probe", "probe-answer" or "beacon"
	SSID    string // "" when it is hidden, and of a probe for any network
	Channel uint8
	Private bool // encrypted
	RSN     bool // WPA2 or later
}

// Subtypes of management frames.
const (
	frameProbe  = 4
	frameAnswer = 5
	frameBeacon = 8
)

func (m *Wireless) read(to *app.Flow, f *frame) bool {
	const bssidAt, header, fixed, private = 16, 24, 12, 1 << 4
	b := f.body
	*m = Wireless{Source: f.source}
	switch b[0] >> 4 {
	case frameProbe:
		m.Name = "probe"
		m.elements(to, b[header:])
		return true
	case frameAnswer:
		m.Name = "probe-answer"
	case frameBeacon:
		m.Name = "beacon"
	default:
		return false
	}
	if len(b) < header+fixed {
		return false
	}
	m.BSSID = MAC(b[bssidAt:])
	m.Private = binary.LittleEndian.Uint16(b[header+10:])&private != 0
	m.elements(to, b[header+fixed:])
	return true
}

// elements reads fields of a kind, a length and a value. What follows the last one may be a check sequence.
func (m *Wireless) elements(to *app.Flow, b []byte) {
	const ssid, channel, rsn, maxSSID = 0, 3, 48, 32
	for range maxFields {
		if len(b) < 2 || int(b[1]) > len(b)-2 {
			return
		}
		v := b[2:][:b[1]]
		switch b[0] {
		case ssid:
			if len(v) <= maxSSID && utf8.Valid(v) {
				m.SSID = ot.Text(v)
			}
		case channel:
			if len(v) == 1 {
				m.Channel = v[0]
			}
		case rsn:
			m.RSN = true
		}
		b = b[2:][b[1]:]
	}
	to.Cut(len(b))
}
