package capture

import (
	"bytes"
	"encoding/binary"
)

// pcapFile builds a classic file of Ethernet packets, packet i at second i with i as its fraction.
func pcapFile(order binary.ByteOrder, magic uint32, packets ...[]byte) []byte {
	var b bytes.Buffer
	put32(&b, order, magic)
	put16(&b, order, 2, 4)
	put32(&b, order, 0, 0, 65535, 1)
	for i, p := range packets {
		put32(&b, order, uint32(i), uint32(i), uint32(len(p)), uint32(len(p)+4))
		b.Write(p)
	}
	return b.Bytes()
}

// ngFile puts blocks one after the other.
func ngFile(blocks ...[]byte) []byte { return bytes.Join(blocks, nil) }

func block(order binary.ByteOrder, kind uint32, body []byte) []byte {
	var b bytes.Buffer
	padded := (len(body) + 3) &^ 3
	put32(&b, order, kind, uint32(padded+12))
	b.Write(body)
	b.Write(make([]byte, padded-len(body)))
	put32(&b, order, uint32(padded+12))
	return b.Bytes()
}

func sectionBlock(order binary.ByteOrder) []byte {
	var b bytes.Buffer
	put32(&b, order, byteOrderMagic)
	put16(&b, order, 1, 0)
	put32(&b, order, 0xffffffff, 0xffffffff)
	return block(order, blockSection, b.Bytes())
}

func interfaceBlock(order binary.ByteOrder, link LinkType, snap uint32, options ...[]byte) []byte {
	var b bytes.Buffer
	put16(&b, order, uint16(link), 0)
	put32(&b, order, snap)
	for _, o := range options {
		b.Write(o)
	}
	if len(options) > 0 {
		put16(&b, order, 0, 0)
	}
	return block(order, blockInterface, b.Bytes())
}

func option(order binary.ByteOrder, code uint16, value ...byte) []byte {
	var b bytes.Buffer
	put16(&b, order, code, uint16(len(value)))
	b.Write(value)
	b.Write(make([]byte, (4-len(value)%4)%4))
	return b.Bytes()
}

func enhancedBlock(order binary.ByteOrder, iface uint32, ticks uint64, data []byte) []byte {
	var b bytes.Buffer
	put32(&b, order, iface, uint32(ticks>>32), uint32(ticks), uint32(len(data)), uint32(len(data)+4))
	b.Write(data)
	return block(order, blockEnhanced, b.Bytes())
}

func obsoleteBlock(order binary.ByteOrder, iface uint16, ticks uint64, data []byte) []byte {
	var b bytes.Buffer
	put16(&b, order, iface, 0)
	put32(&b, order, uint32(ticks>>32), uint32(ticks), uint32(len(data)), uint32(len(data)+4))
	b.Write(data)
	return block(order, blockPacket, b.Bytes())
}

func simpleBlock(order binary.ByteOrder, wire uint32, data []byte) []byte {
	var b bytes.Buffer
	put32(&b, order, wire)
	b.Write(data)
	return block(order, blockSimple, b.Bytes())
}

func put16(b *bytes.Buffer, order binary.ByteOrder, values ...uint16) {
	for _, v := range values {
		_ = binary.Write(b, order, v)
	}
}

func put32(b *bytes.Buffer, order binary.ByteOrder, values ...uint32) {
	for _, v := range values {
		_ = binary.Write(b, order, v)
	}
}
