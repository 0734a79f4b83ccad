package main

import (
	"bufio"
	"encoding/binary"
	"os"
)

const (
	floodFlows = 1_000_000
	floodStep  = 10_000 // nanoseconds between two packets: all flows are open at the end
)

// The first Ethernet header, IPv4 header and UDP header of the flood; the payload is empty. Addresses and ports are set later.
var floodPacket = [...]byte{
	2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
	0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 0, 172, 16, 0, 1,
	0, 0, 0, 0, 0, 8, 0, 0,
}

// writeFlood writes a capture of so many flows of one packet each, all from different hosts, as a scan of spoofed sources
// looks. It is a capture with nanoseconds of little endian.
func writeFlood(path string, flows int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	head := binary.LittleEndian.AppendUint32(nil, 0xa1b23c4d)
	head = append(head, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0)
	_, _ = w.Write(head) // Flush says what went wrong
	for i := range flows {
		_, _ = w.Write(floodRecord(i))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

// floodRecord is packet i with its header in the file.
func floodRecord(i int) []byte {
	const ip, udp, epoch = 14, 34, 1_793_500_000
	p := floodPacket
	p[ip+13], p[ip+14], p[ip+15] = byte(i>>16), byte(i>>8), byte(i)
	p[ip+18], p[ip+19] = byte(i>>4&63), byte(1+i&15)
	binary.BigEndian.PutUint16(p[ip+10:], checksum(p[ip:udp]))
	binary.BigEndian.PutUint16(p[udp:], uint16(1024+i*31%60000))
	binary.BigEndian.PutUint16(p[udp+2:], uint16(2000+i%4000))
	at := uint64(i) * floodStep
	out := make([]byte, 0, 16+len(p))
	for _, n := range []uint32{epoch + uint32(at/1e9), uint32(at % 1e9), uint32(len(p)), uint32(len(p))} {
		out = binary.LittleEndian.AppendUint32(out, n)
	}
	return append(out, p[:]...)
}

// checksum is the Internet checksum of a header whose own field is 0.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
