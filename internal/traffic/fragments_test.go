package traffic

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/dns"
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/internal/traffic/flow"
	"github.com/picketwatch/picket/sdk"
)

// longAnswer is a DNS answer over UDP that is too long for one packet.
func longAnswer(t *testing.T) []byte {
	t.Helper()
	name := dnsmessage.MustNewName("long.example.")
	text := string(bytes.Repeat([]byte("x"), 250))
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, Response: true},
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
		Answers: []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 60},
			Body:   &dnsmessage.TXTResource{TXT: []string{text, text, text, text, text, text, text, text}},
		}},
	}
	message, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	udp := make([]byte, 8, 8+len(message))
	binary.BigEndian.PutUint16(udp, 53)
	binary.BigEndian.PutUint16(udp[2:], 40000)
	binary.BigEndian.PutUint16(udp[4:], uint16(8+len(message)))
	return append(udp, message...)
}

// fragmented is the raw IP packets of a datagram, each with up to 800 bytes of it.
func fragmented(datagram []byte, around func(ip []byte) []byte) (packets [][]byte) {
	const size = 800
	for offset := 0; offset < len(datagram); offset += size {
		data := datagram[offset:min(offset+size, len(datagram))]
		ip := make([]byte, 20, 20+len(data))
		ip[0], ip[8], ip[9] = 0x45, 64, 17
		binary.BigEndian.PutUint16(ip[2:], uint16(20+len(data)))
		binary.BigEndian.PutUint16(ip[4:], 99)
		binary.BigEndian.PutUint16(ip[6:], uint16(offset/8))
		if offset+size < len(datagram) {
			ip[6] |= 0x20
		}
		copy(ip[12:], []byte{10, 0, 0, 53, 10, 0, 0, 9})
		packets = append(packets, around(append(ip, data...)))
	}
	return packets
}

// inIP puts a packet into another, from 192.0.2.1 to 192.0.2.2.
func inIP(inner []byte) []byte {
	ip := make([]byte, 20, 20+len(inner))
	ip[0], ip[8], ip[9] = 0x45, 64, 4
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(inner)))
	copy(ip[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	return append(ip, inner...)
}

func asIs(ip []byte) []byte { return ip }

// rawCapture is a capture of raw IP packets, one a second.
func rawCapture(packets ...[]byte) []byte {
	b := make([]byte, 24)
	binary.LittleEndian.PutUint32(b, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(b[4:], 2)
	binary.LittleEndian.PutUint16(b[6:], 4)
	binary.LittleEndian.PutUint32(b[20:], 101)
	for i, p := range packets {
		b = binary.LittleEndian.AppendUint32(b, uint32(i))
		b = binary.LittleEndian.AppendUint32(b, 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
		b = append(b, p...)
	}
	return b
}

// A fragmented answer is one flow of all its packets, each counted once, and reaches the parser whole, whatever the order.
func TestFragmentedDatagramReachesItsParser(t *testing.T) {
	for name, around := range map[string]func([]byte) []byte{"plain": asIs, "in a tunnel": inIP} {
		parts := fragmented(longAnswer(t), around)
		if len(parts) != 3 {
			t.Fatalf("%d fragments", len(parts))
		}
		for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
			var packets [][]byte
			for _, i := range order {
				packets = append(packets, parts[i])
			}
			answers := 0
			apps := app.New(app.Config{Facts: map[string]func(*app.Fact){"dns": func(f *app.Fact) {
				if m, ok := f.Body.(*dns.Message); ok && !m.Damaged && m.ID == 7 && len(m.Answers) == 1 {
					answers++
				}
			}}}, []app.Protocol{dns.DNS})
			var flows []sdk.Flow
			sum, err := Analyze(context.Background(), bytes.NewReader(rawCapture(packets...)), Options{Flow: flow.Config{Apps: apps}}, func(list []sdk.Flow) error {
				for _, f := range list {
					f.Packets = slices.Clone(f.Packets)
					flows = append(flows, f)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if answers != 1 || sum.Fragments.Joined != 1 || sum.Outcomes != [decode.Outcomes]uint64{decode.Flow: 3} {
				t.Errorf("%s, order %v: %d answers, %+v", name, order, answers, sum)
			}
			if len(flows) != 1 || flows[0].FwdPackets+flows[0].RevPackets != 3 || flows[0].FwdPayload+flows[0].RevPayload != uint64(len(longAnswer(t))-8) ||
				!slices.Equal(flows[0].Packets, []uint64{1, 2, 3}) || flows[0].Duration().Seconds() != 2 {
				t.Errorf("%s, order %v: %+v", name, order, flows)
			}
		}
	}
}

// Fragments without their first are accounted for, at the end of the capture and when the analysis stops before it.
func TestFragmentsWithoutAFlow(t *testing.T) {
	parts := fragmented(longAnswer(t), asIs)
	file := rawCapture(parts[1], parts[2], parts[1], parts[2])
	none := func([]sdk.Flow) error { return nil }
	sum, err := Analyze(context.Background(), bytes.NewReader(file), Options{}, none)
	if err != nil || sum.Flows != 0 || sum.Outcomes != [decode.Outcomes]uint64{decode.Fragment: 4} || sum.Fragments.GivenUp != 1 {
		t.Errorf("%+v, error %v", sum, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sum, err = Analyze(ctx, bytes.NewReader(file), Options{ProgressEvery: 1, Progress: func(Progress) { cancel() }}, none)
	if err == nil || sum.Packets == 0 || sum.Outcomes[decode.Fragment] != sum.Packets {
		t.Errorf("stopped early: %+v, error %v", sum, err)
	}
}

// The same packets in two tunnels of one kind that name no network are one flow; with and without the tunnel they are two.
func TestFlowsInTunnels(t *testing.T) {
	packet := fragmented(longAnswer(t)[:100], asIs)[0]
	sum, err := Analyze(context.Background(), bytes.NewReader(rawCapture(packet, inIP(packet), inIP(packet), inIP(inIP(packet)))), Options{}, func(flows []sdk.Flow) error {
		for _, f := range flows {
			if f.Dst.String() != "10.0.0.53" || f.CommunityID != flows[0].CommunityID || f.FwdBytes+f.RevBytes != 120*(f.FwdPackets+f.RevPackets) {
				t.Errorf("%+v", f)
			}
		}
		return nil
	})
	if err != nil || sum.Flows != 3 || sum.Packets != 4 {
		t.Errorf("%+v, error %v", sum, err)
	}
}
