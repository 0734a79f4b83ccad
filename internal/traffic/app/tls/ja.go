package tls

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
)

// appendDecimal writes numbers with dashes between them, GREASE left out.
func appendDecimal(to []byte, list []uint16) []byte {
	first := true
	for _, v := range list {
		if grease(v) {
			continue
		}
		if !first {
			to = append(to, '-')
		}
		first = false
		to = strconv.AppendUint(to, uint64(v), 10)
	}
	return to
}

// ja3 is the MD5 of version, ciphers, extensions, groups and point formats.
func (h *ClientHello) ja3() string {
	var room [1024]byte
	b := strconv.AppendUint(room[:0], uint64(h.Legacy), 10)
	for _, list := range [][]uint16{h.Ciphers, h.Extensions, h.Groups} {
		b = appendDecimal(append(b, ','), list)
	}
	b = append(b, ',')
	for i, v := range h.Formats {
		if i > 0 {
			b = append(b, '-')
		}
		b = strconv.AppendUint(b, uint64(v), 10)
	}
	return md5Hex(b)
}

// ja3s is the MD5 of version, cipher and extensions.
func ja3s(legacy uint16, h *ServerHello) string {
	var room [256]byte
	b := strconv.AppendUint(room[:0], uint64(legacy), 10)
	b = strconv.AppendUint(append(b, ','), uint64(h.Cipher), 10)
	return md5Hex(appendDecimal(append(b, ','), h.Extensions))
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b) // the fingerprint is defined so; nothing rests on its strength
	return hex.EncodeToString(sum[:])
}

// ja4 is the client's fingerprint: what it speaks in clear letters, then the sorted ciphers and the sorted extensions with
// the signature algorithms, each as a short hash.
func (h *ClientHello) ja4(over Carrier) string {
	var room [512]uint16
	list := append(room[:0], h.Ciphers...)
	list = slices.DeleteFunc(list, grease)
	ciphers := len(list)
	out := make([]byte, 0, 36)
	out = append(out, byte(over))
	out = append(out, h.ja4Version()...)
	if slices.Contains(h.Extensions, extServerName) {
		out = append(out, 'd')
	} else {
		out = append(out, 'i')
	}
	extensions := 0
	for _, v := range h.Extensions {
		if !grease(v) {
			extensions++
		}
	}
	out = appendCount(appendCount(out, ciphers), extensions)
	out = append(out, h.ja4ALPN()...)
	slices.Sort(list)
	out = appendHash(append(out, '_'), list, nil)
	list = append(room[:0], h.Extensions...)
	list = slices.DeleteFunc(list, func(v uint16) bool { return grease(v) || v == extServerName || v == extALPN })
	slices.Sort(list)
	out = appendHash(append(out, '_'), list, h.Signatures)
	return string(out)
}

func (h *ClientHello) ja4Version() string {
	v := h.Legacy
	if len(h.Versions) > 0 {
		v = slices.Max(h.Versions)
	}
	switch v {
	case 0x0304:
		return "13"
	case 0x0303:
		return "12"
	case 0x0302:
		return "11"
	case 0x0301:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	case 0xfeff:
		return "d1"
	case 0xfefd:
		return "d2"
	case 0xfefc:
		return "d3"
	}
	return "00"
}

// ja4ALPN is the first and the last character of the first name, or of its hex form when they are no letters or digits.
func (h *ClientHello) ja4ALPN() string {
	if len(h.ALPN) == 0 {
		return "00"
	}
	name := h.ALPN[0]
	first, last := name[0], name[len(name)-1]
	if !alphanumeric(first) || !alphanumeric(last) {
		const digits = "0123456789abcdef"
		first, last = digits[first>>4], digits[last&0xf]
	}
	return string([]byte{first, last})
}

func alphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func appendCount(to []byte, n int) []byte {
	n = min(n, 99)
	return append(to, '0'+byte(n/10), '0'+byte(n%10))
}

// appendHash writes 12 hex digits of the SHA-256 of the values in hex, and of a second list behind an underscore.
func appendHash(to []byte, list, more []uint16) []byte {
	if len(list) == 0 {
		return append(to, "000000000000"...)
	}
	var room [1024]byte
	b := appendHexList(room[:0], list)
	if len(more) > 0 {
		b = appendHexList(append(b, '_'), more)
	}
	sum := sha256.Sum256(b)
	return hex.AppendEncode(to, sum[:6])
}

func appendHexList(to []byte, list []uint16) []byte {
	for i, v := range list {
		if i > 0 {
			to = append(to, ',')
		}
		to = hex.AppendEncode(to, []byte{byte(v >> 8), byte(v)})
	}
	return to
}
