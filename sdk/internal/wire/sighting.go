package wire

import (
	"math"

	"github.com/picketwatch/picket/sdk"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// SightingsField is the number of the sightings in what a plugin answers to a batch, and to the end of a capture.
const SightingsField = 3

// The fields of a Sighting and of an entry of its facts.
const (
	sightingTime       = 1
	sightingIP         = 2
	sightingMAC        = 3
	sightingHostname   = 4
	sightingFacts      = 5
	sightingConfidence = 6
	sightingSource     = 7
	sightingPacket     = 8
	sightingCapture    = 9
	sightingPorts      = 10
	sightingLinks      = 11

	entryKey   = 1
	entryValue = 2
)

// AppendSighting appends a sighting to an encoded answer, of which it becomes one more. A batch of facts can tell of hundreds of
// devices, and most of what an observer does with each would be to make a message of it, to measure that and to walk its map by
// reflection.
func AppendSighting(b []byte, v *sdk.Sighting) []byte {
	return appendMessage(b, SightingsField, func(b []byte) []byte {
		if ns := Nanos(v.Time); ns != nil {
			b = protowire.AppendVarint(protowire.AppendTag(b, sightingTime, protowire.VarintType), uint64(*ns))
		}
		if v.IP.IsValid() {
			b = appendMessage(b, sightingIP, v.IP.AppendTo)
		}
		b = appendText(b, sightingMAC, v.MAC)
		b = appendText(b, sightingHostname, v.Hostname)
		for key, value := range v.Facts {
			b = appendMessage(b, sightingFacts, func(b []byte) []byte {
				return appendText(appendText(b, entryKey, key), entryValue, value)
			})
		}
		if v.Confidence != 0 || math.Signbit(v.Confidence) {
			b = protowire.AppendFixed64(protowire.AppendTag(b, sightingConfidence, protowire.Fixed64Type), math.Float64bits(v.Confidence))
		}
		b = appendText(b, sightingSource, v.Source)
		if v.Packet != 0 {
			b = protowire.AppendVarint(protowire.AppendTag(b, sightingPacket, protowire.VarintType), v.Packet)
		}
		b = appendText(b, sightingCapture, v.Capture)
		for i := range v.Ports {
			b = appendProto(b, sightingPorts, PortToPB(v.Ports[i]))
		}
		for i := range v.Links {
			b = appendProto(b, sightingLinks, LinkToPB(v.Links[i]))
		}
		return b
	})
}

// appendProto is for what an observer hardly ever tells.
func appendProto(b []byte, field protowire.Number, m proto.Message) []byte {
	return appendMessage(b, field, func(b []byte) []byte {
		out, err := proto.MarshalOptions{}.MarshalAppend(b, m)
		if err != nil {
			return b // texts were cleaned: there is nothing else that could be wrong
		}
		return out
	})
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), clean(text))
}

// appendMessage appends a field of what fill appends. How long that is stands before it, and is known behind it.
func appendMessage(b []byte, field protowire.Number, fill func([]byte) []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	at := len(b)
	b = fill(b)
	n := len(b) - at
	b = protowire.AppendVarint(b, uint64(n)) // for the room
	k := len(b) - at - n
	copy(b[at+k:], b[at:at+n])
	protowire.AppendVarint(b[:at], uint64(n))
	return b
}
