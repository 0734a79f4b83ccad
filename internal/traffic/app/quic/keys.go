package quic

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// params are what differs between versions.
type params struct {
	salt        []byte
	prefix      string // of the labels
	initialType byte
	retryType   byte
}

func salt(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // a constant of this file
	}
	return b
}

var (
	version1  = &params{salt("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), "quic ", 0, 3}
	version2  = &params{salt("0dede3def700a6db819381be6e269dcbf9bd2ed9"), "quicv2 ", 1, 0}
	drafts29  = &params{salt("afbfec289993d24c9e9786f19c6111e04390a899"), "quic ", 0, 3}
	drafts23  = &params{salt("c3eef712c72ebb5a11a7d2432bb46365bef9f502"), "quic ", 0, 3}
	draftBase = uint32(0xff000000)
)

// paramsOf returns nil for a version that is not known.
func paramsOf(version uint32) *params {
	switch {
	case version == 1:
		return version1
	case version == 0x6b3343cf:
		return version2
	case version >= draftBase+29 && version <= draftBase+34:
		return drafts29
	case version >= draftBase+23 && version <= draftBase+28:
		return drafts23
	}
	return nil
}

// keys protect the Initial packets of one direction.
type keys struct {
	aead   cipher.AEAD
	iv     []byte
	header cipher.Block
}

// secretOf is what the keys of both directions are derived from: the connection id that the client's first packet is sent to
// tells it.
func secretOf(p *params, id []byte) []byte {
	secret, err := hkdf.Extract(sha256.New, id, p.salt)
	if err != nil {
		return nil
	}
	return secret
}

// newKeys derives the keys of one direction, nil without a secret.
func newKeys(p *params, secret []byte, d app.Dir) *keys {
	if secret == nil {
		return nil
	}
	side := expand(secret, [...]string{app.Client: "client in", app.Server: "server in"}[d], sha256.Size)
	block, err := aes.NewCipher(expand(side, p.prefix+"key", 16))
	if err != nil {
		return nil
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil
	}
	header, err := aes.NewCipher(expand(side, p.prefix+"hp", 16))
	if err != nil {
		return nil
	}
	return &keys{aead: aead, iv: expand(side, p.prefix+"iv", 12), header: header}
}

// expand is HKDF-Expand-Label of TLS 1.3 without a context.
func expand(secret []byte, label string, n int) []byte {
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(info, byte(len("tls13 ")+len(label)))
	info = append(append(info, "tls13 "...), label...)
	out, err := hkdf.Expand(sha256.New, secret, string(append(info, 0)), n)
	if err != nil {
		panic(err) // only for lengths that are not used here
	}
	return out
}

// open removes both protections. The result lies in scratch.
func (k *keys) open(scratch *[]byte, in packet) ([]byte, bool) {
	const sample = 16
	at := in.number
	if k == nil || len(in.whole) < at+4+sample {
		return nil, false
	}
	var mask [sample]byte
	k.header.Encrypt(mask[:], in.whole[at+4:at+4+sample])
	// The packet is not ours to change.
	b := append((*scratch)[:0], in.whole...)
	*scratch = b
	b[0] ^= mask[0] & 0x0f
	size := int(b[0]&3) + 1
	var number uint32
	for i := range size {
		b[at+i] ^= mask[1+i]
		number = number<<8 | uint32(b[at+i])
	}
	nonce := slices.Clone(k.iv)
	binary.BigEndian.PutUint32(nonce[8:], binary.BigEndian.Uint32(nonce[8:])^number)
	plain, err := k.aead.Open(b[at+size:at+size], nonce, b[at+size:], b[:at+size])
	return plain, err == nil
}

// crypto puts the bytes of CRYPTO frames in order.
type crypto struct {
	b    []byte
	have []uint64 // a bit for each byte of b
}

func (c *crypto) reset() {
	c.b, c.have = c.b[:0], c.have[:0]
	if cap(c.b) > 4<<10 {
		c.b, c.have = nil, nil
	}
}

func (c *crypto) add(at int, b []byte) {
	if end := at + len(b); end > len(c.b) {
		c.b = append(c.b, make([]byte, end-len(c.b))...)
		for len(c.have)*64 < end {
			c.have = append(c.have, 0)
		}
	}
	copy(c.b[at:], b)
	for i := at; i < at+len(b); i++ {
		c.have[i/64] |= 1 << (i % 64)
	}
}

// message returns the first handshake message, once all of it is there.
func (c *crypto) message() ([]byte, bool) {
	if len(c.b) < 4 || !c.complete(4) {
		return nil, false
	}
	size := 4 + (int(c.b[1])<<16 | int(c.b[2])<<8 | int(c.b[3]))
	if size > len(c.b) || !c.complete(size) {
		return nil, false
	}
	return c.b[:size], true
}

func (c *crypto) complete(n int) bool {
	for i := range n {
		if c.have[i/64]>>(i%64)&1 == 0 {
			return false
		}
	}
	return true
}
