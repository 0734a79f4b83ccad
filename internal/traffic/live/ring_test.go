//go:build linux

package live

import (
	"encoding/binary"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/traffic/capture"
)

const testBlock = 4096

// block is one of a ring, with packets of some bytes at the distance at which the kernel would put them.
func block(packets ...int) []byte {
	mem := make([]byte, testBlock)
	binary.NativeEndian.PutUint32(mem[blockStatus:], unix.TP_STATUS_USER)
	binary.NativeEndian.PutUint32(mem[blockPackets:], uint32(len(packets)))
	binary.NativeEndian.PutUint32(mem[blockFirst:], blockHeader)
	at := blockHeader
	for i, captured := range packets {
		h := mem[at:]
		next := packetHeader + captured
		binary.NativeEndian.PutUint16(h[packetMAC:], packetHeader)
		binary.NativeEndian.PutUint32(h[packetCaptured:], uint32(captured))
		binary.NativeEndian.PutUint32(h[packetLength:], uint32(captured))
		if i < len(packets)-1 {
			binary.NativeEndian.PutUint32(h[packetNext:], uint32(next))
		}
		at += next
	}
	return mem
}

// readBlock reads all packets of a block, and whatever more it claims to hold.
func readBlock(mem []byte) (n int, err error) {
	r := &Ring{mem: mem, size: len(mem), link: capture.LinkEthernet}
	var p capture.Packet
	if !r.take() {
		return 0, nil
	}
	for ; r.left > 0; n++ {
		if err = r.packet(&p); err != nil {
			return n, err
		}
	}
	return n, nil
}

func TestABlockIsRead(t *testing.T) {
	if n, err := readBlock(block(64, 100, 1500)); n != 3 || err != nil {
		t.Errorf("%d packets, %v", n, err)
	}
}

// TestABlockThatLies wants an end of whatever stands in the ring: a packet that points at itself most of all.
func TestABlockThatLies(t *testing.T) {
	for name, change := range map[string]func(mem []byte){
		"points at itself":       func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockHeader+packetNext:], 0) },
		"points into its head":   func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockHeader+packetNext:], packetHeader-1) },
		"points out of it":       func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockHeader+packetNext:], 1<<31) },
		"more packets than room": func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockPackets:], 1<<31) },
		"begins in its head":     func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockFirst:], 8) },
		"begins behind it":       func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockFirst:], testBlock) },
		"longer than the block":  func(mem []byte) { binary.NativeEndian.PutUint32(mem[blockHeader+packetCaptured:], testBlock) },
		"data within the head":   func(mem []byte) { binary.NativeEndian.PutUint16(mem[blockHeader+packetMAC:], 4) },
	} {
		t.Run(name, func(t *testing.T) {
			mem := block(64, 100)
			change(mem)
			if n, err := readBlock(mem); !errors.Is(err, errRing) {
				t.Errorf("%d packets, %v", n, err)
			}
		})
	}
}

func FuzzRing(f *testing.F) {
	f.Add(block(64, 100, 1500))
	f.Add(block(0))
	tagged := block(64)
	binary.NativeEndian.PutUint32(tagged[blockHeader+packetStatus:], unix.TP_STATUS_VLAN_VALID|unix.TP_STATUS_VLAN_TPID_VALID)
	binary.NativeEndian.PutUint16(tagged[blockHeader+packetMAC:], packetHeader+16)
	f.Add(tagged)
	f.Fuzz(func(t *testing.T, wire []byte) {
		mem := make([]byte, testBlock)
		copy(mem, wire)
		if n, _ := readBlock(mem); n > testBlock/packetHeader {
			t.Errorf("%d packets in %d bytes", n, testBlock)
		}
	})
}
