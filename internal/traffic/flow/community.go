package flow

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"

	"github.com/picketwatch/picket/sdk"
)

// communityIDSize is how long a Community ID is: its version, a colon and a hash in base64.
const communityIDSize = len("1:") + (sha1.Size+2)/3*4

// appendCommunityID appends version 1 with seed 0 (github.com/corelight/community-id-spec): a hash over the ordered endpoints that
// other tools compute alike. SHA-1 is what the specification says; nothing here relies on its strength.
func appendCommunityID(to []byte, k *key, initiatorIsA bool) []byte {
	a, b, aPort, bPort := k.a(), k.b(), k.aPort, k.bPort
	if k.bPort&oneWay != 0 && isICMP(k.proto) || k.aPort&oneWay != 0 && isICMP(k.proto) {
		// Messages without a counterpart are not ordered: sender first, with type and code.
		if !initiatorIsA {
			a, b, aPort, bPort = b, a, bPort, aPort
		}
		bPort &^= oneWay
	}
	var buf [40]byte
	in := append(buf[:0], 0, 0) // seed
	in = b.appendTo(a.appendTo(in, k.version), k.version)
	in = append(in, k.proto, 0)
	if hasPorts(k.proto) {
		in = binary.BigEndian.AppendUint16(in, aPort)
		in = binary.BigEndian.AppendUint16(in, bPort)
	}
	sum := sha1.Sum(in)
	return base64.StdEncoding.AppendEncode(append(to, "1:"...), sum[:])
}

func isICMP(proto uint8) bool { return proto == sdk.ProtoICMP || proto == sdk.ProtoICMPv6 }

func hasPorts(proto uint8) bool {
	const sctp = 132
	return proto == sdk.ProtoTCP || proto == sdk.ProtoUDP || proto == sctp || isICMP(proto)
}
