package traffic

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/internal/traffic/capture"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// A Tap hands out the packets that hold one of its layers, each cut to its snap length, in batches.
type Tap struct {
	layers  layerSet
	snapLen int
	emit    func([]sdk.Packet) error
	batch   []sdk.Packet
	data    []byte // of the batch's packets, one after the other
}

// What a tap gives at once, and of each packet when the subscription does not say.
const (
	tapBatch       = 512
	defaultSnapLen = 256
)

// layerSet is a set of layers that a packet holds or a tap wants.
type layerSet uint16

const (
	layerARP layerSet = 1 << iota
	layerIPv4
	layerIPv6
	layerICMP
	layerTCP
	layerUDP
	layerDNS
	layerDHCP

	layerAny layerSet = 0
)

var layerNames = map[string]layerSet{
	"arp": layerARP, "ipv4": layerIPv4, "ipv6": layerIPv6, "icmp": layerICMP,
	"tcp": layerTCP, "udp": layerUDP, "dns": layerDNS, "dhcp": layerDHCP,
}

// NewTap makes a tap for a detector's subscription. The slice that emit gets, and the bytes in it, are only valid during
// the call.
func NewTap(s sdk.PacketSubscription, emit func([]sdk.Packet) error) (*Tap, error) {
	t := &Tap{snapLen: s.SnapLen, emit: emit}
	if t.snapLen == 0 {
		t.snapLen = defaultSnapLen
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	for _, name := range s.Layers {
		t.layers |= layerNames[name]
	}
	return t, nil
}

// ParseSubscription reads LAYER[,LAYER...]:SNAPLEN, with no layer all packets.
func ParseSubscription(text string) (sdk.PacketSubscription, error) {
	layers, snapLen, _ := strings.Cut(text, ":")
	n, err := strconv.Atoi(snapLen)
	if err != nil {
		return sdk.PacketSubscription{}, fmt.Errorf("%q does not end in a colon and a snap length, as in arp,dns:256", text)
	}
	s := sdk.PacketSubscription{SnapLen: n}
	if layers != "" {
		s.Layers = strings.Split(layers, ",")
	}
	_, err = NewTap(s, nil)
	return s, err
}

func (t *Tap) offer(p *capture.Packet, held layerSet) error {
	if t.layers != layerAny && t.layers&held == 0 {
		return nil
	}
	data := p.Data[:min(len(p.Data), t.snapLen)]
	// Growing would move what earlier packets of the batch point into.
	if len(t.batch) == tapBatch || cap(t.data)-len(t.data) < len(data) {
		if err := t.flush(); err != nil {
			return err
		}
		if cap(t.data) < len(data) {
			t.data = make([]byte, 0, max(tapBatch*defaultSnapLen, len(data)))
		}
	}
	at := len(t.data)
	t.data = append(t.data, data...)
	t.batch = append(t.batch, sdk.Packet{
		Number: p.Number, Time: time.Unix(0, p.Time).UTC(), Link: uint16(p.Link), Length: p.Length,
		Data: t.data[at:len(t.data):len(t.data)],
	})
	return nil
}

func (t *Tap) flush() error {
	if len(t.batch) == 0 {
		return nil
	}
	err := t.emit(t.batch)
	t.batch, t.data = t.batch[:0], t.data[:0]
	return err
}

// Ports by which a packet counts as one of a layer, whatever its payload is: detectors look closer.
const (
	portDNS         = 53
	portMDNS        = 5353
	portDHCPServer  = 67
	portDHCPClient  = 68
	portDHCP6Client = 546
	portDHCP6Server = 547
)

// heldLayers says what a decoded packet holds.
func heldLayers(d *decode.Packet) layerSet {
	var held layerSet
	switch {
	case d.ARP:
		return layerARP
	case d.Version == 4:
		held = layerIPv4
	case d.Version == 6:
		held = layerIPv6
	default:
		return 0
	}
	switch d.Proto {
	case 1, 58:
		held |= layerICMP
	case 6:
		held |= layerTCP
	case 17:
		held |= layerUDP
	default:
		return held
	}
	if held&layerICMP != 0 {
		return held // its ports are type and code
	}
	for _, port := range [2]uint16{d.SrcPort, d.DstPort} {
		switch port {
		case portDNS, portMDNS:
			held |= layerDNS
		case portDHCPServer, portDHCPClient, portDHCP6Client, portDHCP6Server:
			held |= layerDHCP
		}
	}
	return held
}
