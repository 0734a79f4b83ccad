// Package carved has the nouns for packets that were taken out of a capture to be looked at: what the traffic worker
// writes, the server checks and the API answers.
package carved

import "time"

// Bounds of what is shown. The worker keeps to them and the server checks that it did.
const (
	MaxPackets = 200  // on one page
	MaxBytes   = 2048 // of one packet
	MaxLayers  = 24
	MaxFields  = 40  // of one layer
	MaxText    = 300 // of one value, in bytes
)

// PacketPage is some of the packets that were asked for, in the order of the capture.
type PacketPage struct {
	Items []DecodedPacket `json:"items" nullable:"false"`
	Next  uint64          `json:"next,omitempty" doc:"Send as after to get the next page; absent on the last."`
}

// DecodedPacket is one packet with what its headers say.
type DecodedPacket struct {
	Number    uint64         `json:"number" doc:"In the capture, from 1."`
	Time      time.Time      `json:"time"`
	Direction string         `json:"direction" enum:"forward,backward,none" doc:"Forward is from the flow's initiator; none when no flow was asked for."`
	Length    uint32         `json:"length" doc:"On the wire."`
	Captured  uint32         `json:"captured" doc:"Bytes that the capture holds of it."`
	Payload   uint32         `json:"payload" doc:"Bytes behind the transport header."`
	Src       string         `json:"src,omitempty" doc:"Innermost address and port."`
	Dst       string         `json:"dst,omitempty"`
	Protocol  string         `json:"protocol" doc:"The innermost layer that was recognised."`
	Flags     string         `json:"flags,omitempty" doc:"TCP flags that are set, as in SYN ACK."`
	Hex       string         `json:"hex" doc:"The first bytes of the packet, at most 2048, two digits each."`
	Layers    []DecodedLayer `json:"layers" nullable:"false" doc:"From the outside in."`
}

// DecodedLayer is one header, or the payload behind the last one.
type DecodedLayer struct {
	Name   string         `json:"name"`
	Offset int            `json:"offset" doc:"Where it begins in the packet."`
	Length int            `json:"length"`
	Error  string         `json:"error,omitempty" doc:"Why what is inside was not read."`
	Fields []DecodedField `json:"fields" nullable:"false"`
}

// DecodedField is one value of a layer and where it stands.
type DecodedField struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Offset int    `json:"offset" doc:"In the packet."`
	Length int    `json:"length"`
}

// Wanted says which packets: those of one flow, as the engine numbers them, or those with the given numbers.
type Wanted struct {
	Flow    uint64
	Numbers []uint64 // ascending
	After   uint64   // only packets with higher numbers
	Limit   int      // of a page; 0 means 50
}
