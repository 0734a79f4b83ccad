// Package scenario writes small captures of made-up traffic for the cases of the detectors.
//
// In go conversations with their times, out comes a pcap file. The packets are well formed but hold no more than a
// detector of flows can see: headers, and payload of zeros.
package scenario

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"
)

// TCP flags.
const (
	FIN = 1 << iota
	SYN
	RST
	PSH
	ACK
	URG
)

// Scenario collects packets. They are written in the order of their times.
type Scenario struct {
	start   time.Time
	packets []packet
	port    uint16 // the next client port
}

type packet struct {
	at    time.Duration
	bytes []byte
}

// New returns an empty scenario that begins on the given day.
func New(start time.Time) *Scenario { return &Scenario{start: start, port: 40000} }

// Port returns a client port that was not used before.
func (s *Scenario) Port() uint16 {
	s.port++
	return s.port
}

// TCP adds one segment.
func (s *Scenario) TCP(at time.Duration, from, to netip.AddrPort, flags uint8, seq uint32, payload int) {
	segment := make([]byte, 20+payload)
	binary.BigEndian.PutUint16(segment, from.Port())
	binary.BigEndian.PutUint16(segment[2:], to.Port())
	binary.BigEndian.PutUint32(segment[4:], seq)
	segment[12], segment[13] = 5<<4, flags
	binary.BigEndian.PutUint16(segment[14:], 64240)
	s.ip(at, from.Addr(), to.Addr(), 6, segment)
}

// UDP adds one datagram.
func (s *Scenario) UDP(at time.Duration, from, to netip.AddrPort, payload int) {
	datagram := make([]byte, 8+payload)
	binary.BigEndian.PutUint16(datagram, from.Port())
	binary.BigEndian.PutUint16(datagram[2:], to.Port())
	binary.BigEndian.PutUint16(datagram[4:], uint16(len(datagram)))
	s.ip(at, from.Addr(), to.Addr(), 17, datagram)
}

// ARP adds one packet in which card says where sender is: a question for target, or an answer to it. The last byte of a
// card tells it apart. Questions go to everybody, answers to the card to.
func (s *Scenario) ARP(at time.Duration, reply bool, card byte, sender, target netip.Addr, to byte) {
	b := []byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, card, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1}
	if reply {
		copy(b, []byte{2, 0, 0, 0, 0, to})
		b[21] = 2
	}
	from, want := sender.As4(), target.As4()
	b = append(append(append(b, 2, 0, 0, 0, 0, card), from[:]...), 0, 0, 0, 0, 0, 0)
	b = append(append(b, want[:]...), make([]byte, 18)...) // filled up to the shortest frame
	s.packets = append(s.packets, packet{at, b})
}

// ICMP adds one message.
func (s *Scenario) ICMP(at time.Duration, from, to netip.Addr, kind, code uint8, payload int) {
	message := make([]byte, 8+payload)
	message[0], message[1] = kind, code
	s.ip(at, from, to, 1, message)
}

func (s *Scenario) ip(at time.Duration, from, to netip.Addr, proto uint8, body []byte) {
	b := make([]byte, 34, 34+len(body))
	copy(b, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := b[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(body)))
	src, dst := from.As4(), to.As4()
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	s.packets = append(s.packets, packet{at, append(b, body...)})
}

// Conversation is a TCP connection from SYN to FIN: the client sends, the server answers after a moment, and the
// connection lasts for a while.
type Conversation struct {
	Client, Server netip.Addr
	Port           uint16
	Sent, Got      int
	Lasts          time.Duration // default 50 ms
}

// Talk adds a conversation.
func (s *Scenario) Talk(at time.Duration, c Conversation) {
	if c.Lasts == 0 {
		c.Lasts = 50 * time.Millisecond
	}
	from, to := netip.AddrPortFrom(c.Client, s.Port()), netip.AddrPortFrom(c.Server, c.Port)
	seq := uint32(at / time.Microsecond)
	step := c.Lasts / 8
	s.TCP(at, from, to, SYN, seq, 0)
	s.TCP(at+step, to, from, SYN|ACK, seq, 0)
	s.TCP(at+2*step, from, to, ACK, seq+1, 0)
	if c.Sent > 0 {
		s.TCP(at+3*step, from, to, PSH|ACK, seq+1, c.Sent)
	}
	if c.Got > 0 {
		s.TCP(at+4*step, to, from, PSH|ACK, seq+1, c.Got)
	}
	s.TCP(at+c.Lasts-step, from, to, FIN|ACK, seq+1+uint32(c.Sent), 0)
	s.TCP(at+c.Lasts, to, from, FIN|ACK, seq+1+uint32(c.Got), 0)
}

// Ask adds a UDP question with its answer; an answer of 0 bytes stays away.
func (s *Scenario) Ask(at time.Duration, from, to netip.AddrPort, sent, got int) {
	s.UDP(at, from, to, sent)
	if got > 0 {
		s.UDP(at+10*time.Millisecond, to, from, got)
	}
}

// Pcap writes the capture.
func (s *Scenario) Pcap() []byte {
	out := make([]byte, 24)
	binary.LittleEndian.PutUint32(out, 0xa1b2c3d4)
	binary.LittleEndian.PutUint16(out[4:], 2)
	binary.LittleEndian.PutUint16(out[6:], 4)
	binary.LittleEndian.PutUint32(out[16:], 65535)
	binary.LittleEndian.PutUint32(out[20:], 1)
	slices.SortStableFunc(s.packets, func(a, b packet) int { return cmp.Compare(a.at, b.at) })
	for _, p := range s.packets {
		at := s.start.Add(p.at)
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Unix()))
		out = binary.LittleEndian.AppendUint32(out, uint32(at.Nanosecond()/1000))
		// Payload is zeros: what is cut off tells nothing, so the file stays small.
		captured := min(len(p.bytes), 96)
		out = binary.LittleEndian.AppendUint32(out, uint32(captured))
		out = binary.LittleEndian.AppendUint32(out, uint32(len(p.bytes)))
		out = append(out, p.bytes[:captured]...)
	}
	return out
}
