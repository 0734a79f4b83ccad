package flow

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"

	"github.com/picketwatch/picket/sdk"
)

// communityID is version 1 with seed 0 (github.com/corelight/community-id-spec): a hash over the ordered endpoints that
// other tools compute alike. SHA-1 is what the specification says; nothing here relies on its strength.
func communityID(k *key, initiatorIsA bool) string {
	a, b := k.addresses()
	aPort, bPort := k.aPort, k.bPort
	if k.bPort&oneWay != 0 && isICMP(k.proto) || k.aPort&oneWay != 0 && isICMP(k.proto) {
		// Messages without a counterpart are not ordered: sender first, with type and code.
		if !initiatorIsA {
			a, b, aPort, bPort = b, a, bPort, aPort
		}
		bPort &^= oneWay
	}
	var buf [40]byte
	in := append(buf[:0], 0, 0) // seed
	in = appendAddr(in, &a, k.version)
	in = appendAddr(in, &b, k.version)
	in = append(in, k.proto, 0)
	if hasPorts(k.proto) {
		in = binary.BigEndian.AppendUint16(in, aPort)
		in = binary.BigEndian.AppendUint16(in, bPort)
	}
	sum := sha1.Sum(in)
	var text [2 + 28]byte
	text[0], text[1] = '1', ':'
	base64.StdEncoding.Encode(text[2:], sum[:])
	return string(text[:])
}

func appendAddr(to []byte, a *[16]byte, version uint8) []byte {
	if version == 4 {
		return append(to, a[12:]...)
	}
	return append(to, a[:]...)
}

func isICMP(proto uint8) bool { return proto == sdk.ProtoICMP || proto == sdk.ProtoICMPv6 }

func hasPorts(proto uint8) bool {
	const sctp = 132
	return proto == sdk.ProtoTCP || proto == sdk.ProtoUDP || proto == sctp || isICMP(proto)
}
