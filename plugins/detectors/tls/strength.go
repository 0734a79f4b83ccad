package tls

import "strings"

// Signs of what protects badly.
const (
	ssl3 uint32 = 1 << iota
	tls10
	tls11
	null
	export
	anonymous
	rc4
	des
	shortKey
	shorterKey // that one computer breaks
	oldSignature

	inside uint32 = 1 << 31 // the server is in the own networks
)

// weak are the signs that let others read or change what is said, today and with little effort.
const weak = ssl3 | null | export | anonymous | shorterKey

// Versions on the wire.
const (
	wireSSL3   = 0x0300
	wireTLS10  = 0x0301
	wireTLS11  = 0x0302
	wireTLS12  = 0x0303
	wireDTLS10 = 0xfeff
)

// older reports whether a version is less than TLS 1.2 or DTLS 1.2. What is newer than DTLS 1.0 has lower numbers.
func older(version uint16) bool {
	return version == wireDTLS10 || version >= 2 && version < wireTLS12
}

// Keys of RSA and of elliptic curves that are enough until 2030 (NIST SP 800-57), and those that are broken.
const (
	enoughRSA   = 2048
	enoughCurve = 224
	brokenRSA   = 1024
)

// strength is what protects badly in a handshake. What a client offers beyond what was chosen does not matter.
func (h *handshake) strength() (signs uint32) {
	if h.Version == 0 || h.Damaged {
		return 0
	}
	switch h.Version {
	case 2, wireSSL3:
		signs = ssl3
	case wireTLS10, wireDTLS10:
		signs = tls10
	case wireTLS11:
		signs = tls11
	}
	signs |= cipherSigns(h.Cipher)
	if !h.certified {
		return signs
	}
	switch bits := h.KeyBits; {
	case bits == 0:
	case h.KeyType == "RSA" && bits < brokenRSA:
		signs |= shorterKey
	case h.KeyType == "RSA" && bits < enoughRSA, h.KeyType == "ECDSA" && bits < enoughCurve:
		signs |= shortKey
	}
	if !h.SelfSigned && (strings.HasPrefix(h.Signature, "SHA1") || strings.HasPrefix(h.Signature, "MD") || strings.HasSuffix(h.Signature, "SHA1")) {
		signs |= oldSignature // nobody looks at how a certificate signs itself
	}
	return signs
}

// ciphers are those of the IANA registry that protect badly, below 0x0100 and from 0xc000.
var ciphers [2][256]uint16

func cipherSigns(cipher uint16) uint32 {
	switch cipher >> 8 {
	case 0:
		return uint32(ciphers[0][cipher])
	case 0xc0:
		return uint32(ciphers[1][cipher&0xff])
	}
	return 0
}

func init() {
	for sign, list := range map[uint32][]uint16{
		null:   {0x01, 0x02, 0x2c, 0x2d, 0x2e, 0x3b, 0xb0, 0xb1, 0xb4, 0xb5, 0xb8, 0xb9, 0xc001, 0xc006, 0xc00b, 0xc010, 0xc015, 0xc039, 0xc03a, 0xc03b},
		export: {0x03, 0x06, 0x08, 0x0b, 0x0e, 0x11, 0x14, 0x17, 0x19, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x2b, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65},
		anonymous: {0x17, 0x18, 0x19, 0x1a, 0x1b, 0x34, 0x3a, 0x46, 0x6c, 0x6d, 0x89, 0x9b, 0xa6, 0xa7, 0xbf, 0xc5, 0xc015, 0xc016, 0xc017, 0xc018, 0xc019,
			0xc046, 0xc047, 0xc05a, 0xc05b, 0xc084, 0xc085},
		rc4: {0x03, 0x04, 0x05, 0x17, 0x18, 0x20, 0x24, 0x28, 0x2b, 0x64, 0x65, 0x66, 0x8a, 0x8e, 0x92, 0xc002, 0xc007, 0xc00c, 0xc011, 0xc016, 0xc033},
		des: {0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x19, 0x1a, 0x1b, 0x1e, 0x1f, 0x21, 0x22, 0x23, 0x25,
			0x26, 0x29, 0x62, 0x63, 0x8b, 0x8f, 0x93, 0xc003, 0xc008, 0xc00d, 0xc012, 0xc017, 0xc01a, 0xc01b, 0xc01c, 0xc034},
	} {
		for _, cipher := range list {
			ciphers[cipher>>15][cipher&0xff] |= uint16(sign)
		}
	}
}
