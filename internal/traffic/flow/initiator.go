package flow

import (
	"github.com/picketwatch/picket/internal/traffic/decode"
	"github.com/picketwatch/picket/sdk"
)

// initiator tells from a flow's first packet whether endpoint a began the conversation, and whether that is a guess.
func initiator(p *decode.Packet, fromA bool) (isA, guessed bool) {
	fromSender, guessed := senderBegan(p)
	return fromSender == fromA, guessed
}

// senderBegan is the same question about the sender of the packet. What the protocol shows counts before what the ports
// suggest.
func senderBegan(p *decode.Packet) (yes, guessed bool) {
	switch p.Proto {
	case sdk.ProtoTCP:
		return tcpSenderBegan(p)
	case sdk.ProtoICMP, sdk.ProtoICMPv6:
		return !answers(p.Proto, p.SrcPort), false
	case sdk.ProtoUDP:
		if p.Dst[0] == 0xff || p.Version == 4 && p.Dst[12]>>4 == 0xe {
			return true, false // nobody is answered on a multicast address
		}
		src, dst := isServerPort(p.SrcPort), isServerPort(p.DstPort)
		if src != dst {
			return dst, src
		}
	}
	return true, true
}

func tcpSenderBegan(p *decode.Packet) (yes, guessed bool) {
	const syn, ack, rst = sdk.FlagSYN, sdk.FlagACK, sdk.FlagRST
	switch {
	case p.Short && p.Flags == 0:
		// cut off before the flags: only the ports are known
	case p.Flags&(syn|ack) == syn:
		return true, false
	case p.Flags&(syn|ack) == syn|ack:
		return false, false
	case p.Flags&rst != 0:
		return false, true // a reset answers something
	case p.Flags&ack == 0:
		// Every segment of a connection but the first carries ACK: this is a probe (NULL, FIN, XMAS scans).
		return true, false
	}
	src, dst := isServerPort(p.SrcPort), isServerPort(p.DstPort)
	if src != dst {
		return dst, true
	}
	return true, true
}

// isServerPort reports whether services listen on the port: the well-known range, and what is common above it.
func isServerPort(port uint16) bool {
	if port < 1024 {
		return port != 0
	}
	switch port {
	case 1080, 1194, 1433, 1434, 1521, 1701, 1723, 1812, 1813, 1883, 1900, 1935, 2049, 2055, 2222, 2375, 2376, 2379, 2404,
		3000, 3128, 3260, 3268, 3269, 3306, 3389, 3478, 4222, 4369, 4500, 4789, 4840, 5000, 5060, 5061, 5222, 5353, 5355,
		5432, 5601, 5671, 5672, 5683, 5900, 5938, 5985, 5986, 6379, 6443, 6667, 6881, 8000, 8008, 8080, 8081, 8086, 8123,
		8443, 8883, 8888, 9000, 9042, 9090, 9092, 9100, 9200, 9300, 9418, 9997, 10050, 10051, 10250, 11211, 11434, 15672,
		20000, 25565, 27017, 34962, 34964, 44818, 47808, 50051, 51820:
		return true
	}
	return false
}
