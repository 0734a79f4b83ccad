package decode

import "encoding/binary"

// Piece is a fragment with everything that joining needs. Pieces of one datagram have the same key.
type Piece struct {
	Of     DatagramKey
	Offset uint32 // of the data in the datagram
	Length uint32 // of the data on the wire; Data may hold less
	More   bool   // it is not the last one
	Next   uint8  // what the datagram holds
	Header []byte // the IP header without extensions
	Data   []byte
}

// DatagramKey tells datagrams apart.
type DatagramKey struct {
	Src, Dst [16]byte
	Tunnel   uint64
	ID       uint32
	VLAN     uint16
	Version  uint8
	Proto    uint8 // what IPv4 says it holds; 0 with IPv6, where the addresses and the ID decide (RFC 8200)
}

// Piece reads the fragment that p says is in data, the bytes that p was decoded from. It points into data.
func (p *Packet) Piece(data []byte) Piece {
	ip := data[p.Part.Header:]
	piece := Piece{Of: DatagramKey{Tunnel: p.Part.Tunnel, VLAN: p.Part.VLAN, Version: ip[0] >> 4}, Length: p.Part.Length}
	if piece.Of.Version == 4 {
		piece.Header = ip[:20]
		offset := binary.BigEndian.Uint16(ip[6:])
		piece.More = offset&0x2000 != 0
		piece.Offset = uint32(offset&0x1fff) * 8
		piece.Of.ID = uint32(binary.BigEndian.Uint16(ip[4:]))
		piece.Of.Proto, piece.Next = ip[9], ip[9]
		piece.Of.Src, piece.Of.Dst = mappedAddr(ip[12:]), mappedAddr(ip[16:])
	} else {
		fragment := data[p.Part.At-8:]
		piece.Header, piece.Next = ip[:40], fragment[0]
		offset := binary.BigEndian.Uint16(fragment[2:])
		piece.More = offset&1 != 0
		piece.Offset = uint32(offset &^ 7)
		piece.Of.ID = binary.BigEndian.Uint32(fragment[4:])
		piece.Of.Src, piece.Of.Dst = [16]byte(ip[8:]), [16]byte(ip[24:])
	}
	piece.Data = clip(data[p.Part.At:], piece.Length)
	return piece
}

func mappedAddr(v4 []byte) (a [16]byte) {
	mapAddr(&a, v4)
	return a
}
