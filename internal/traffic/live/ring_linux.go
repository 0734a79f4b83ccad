// Package live reads packets from a ring that the kernel fills, as package packetsocket opens it.
//
// In goes an open socket, out come packets as from a capture file, and traffic.ErrTick in between, so that flows end when
// nothing comes any more. A packet's bytes lie in the ring until the next call. Tags that the kernel took off are put back, so
// that a packet looks as it did on the wire; what a card joined (GRO) or has yet to cut (TSO) stays as long as it is, as in
// a file that tcpdump writes.
package live

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/picketwatch/picket/internal/packetsocket"
	"github.com/picketwatch/picket/internal/traffic"
	"github.com/picketwatch/picket/internal/traffic/capture"
)

// Where things stand in a block (tpacket_block_desc) and before a packet (tpacket3_hdr).
const (
	blockStatus   = 8
	blockPackets  = 12
	blockFirst    = 16
	blockSequence = 24
	blockHeader   = 48

	packetNext     = 0
	packetSeconds  = 4
	packetNanos    = 8
	packetCaptured = 12
	packetLength   = 16
	packetStatus   = 20
	packetMAC      = 24
	packetTag      = 32
	packetTagKind  = 36
	packetHeader   = 48
)

// tick is how long what is finished waits at most to be handed out.
const tick = 100 * time.Millisecond

// settle is how far time stays behind the clock when nothing comes: a block reaches us some milliseconds after its first
// packet.
const settle = 100 * time.Millisecond

// Ring is a source of packets for traffic.AnalyzeSource. It is not safe for concurrent use.
type Ring struct {
	ctx    context.Context
	mem    []byte
	size   int // of a block
	wake   *os.File
	link   capture.LinkType
	number uint64
	ticked time.Time

	block int // the one that is read or comes next
	open  bool
	left  uint32 // packets in it that were not read
	at    int    // the next one, in mem

	skipped uint64
}

// Open maps the ring of a socket and closes ring: from here on there is no way to send. The ring ends with ctx. skip
// passes over the first block that is ready: a reader before this one died on it.
func Open(ctx context.Context, ring, wake *os.File, g packetsocket.Geometry, skip bool) (*Ring, error) {
	mem, err := unix.Mmap(int(ring.Fd()), 0, g.Blocks*g.BlockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map the ring of packets: %w", err)
	}
	if err := ring.Close(); err != nil {
		return nil, fmt.Errorf("close the socket of the ring: %w", err)
	}
	r := &Ring{ctx: ctx, mem: mem, size: g.BlockSize, wake: wake, link: capture.LinkEthernet, ticked: time.Now()}
	if g.RawIP {
		r.link = capture.LinkRaw
	}
	r.block, _ = r.oldest()
	if skip && r.take() {
		r.skipped = uint64(r.left)
		r.release()
	}
	return r, nil
}

// oldest is the block that was filled first of those that are ready, where a reader before this one stopped.
func (r *Ring) oldest() (block int, found bool) {
	var first uint64
	for i := range len(r.mem) / r.size {
		sequence := binary.NativeEndian.Uint64(r.mem[i*r.size+blockSequence:])
		if r.ready(i) && (!found || sequence < first) {
			block, first, found = i, sequence, true
		}
	}
	return block, found
}

func (r *Ring) ready(block int) bool { return r.status(block).Load()&unix.TP_STATUS_USER != 0 }

// status is the word by which the kernel and we hand a block to one another.
func (r *Ring) status(block int) *atomic.Uint32 {
	//nolint:gosec // blocks are aligned to pages and within the ring
	return (*atomic.Uint32)(unsafe.Pointer(&r.mem[block*r.size+blockStatus]))
}

// Skipped is how many packets Open passed over.
func (r *Ring) Skipped() uint64 { return r.skipped }

// Notes are empty: a ring says nothing besides its packets.
func (r *Ring) Notes() capture.Notes { return capture.Notes{} }

// Next implements traffic.Source.
func (r *Ring) Next(p *capture.Packet) error {
	for r.left == 0 {
		if r.open {
			r.release()
		}
		if r.ctx.Err() != nil {
			return io.EOF
		}
		now := time.Now()
		rest := tick - now.Sub(r.ticked)
		if rest <= 0 {
			r.ticked = now
			return r.tick(p, now)
		}
		if r.take() {
			break
		}
		if err := r.wait(rest); err != nil {
			return err
		}
	}
	return r.packet(p)
}

// tick tells the time: with blocks to read that of the packets, else the clock's.
func (r *Ring) tick(p *capture.Packet, now time.Time) error {
	if !r.ready(r.block) {
		p.Time = max(p.Time, now.Add(-settle).UnixNano())
	}
	return traffic.ErrTick
}

// take begins the next block if it is ready.
func (r *Ring) take() bool {
	if !r.ready(r.block) {
		return false
	}
	b := r.block * r.size
	r.open = true
	r.left = binary.NativeEndian.Uint32(r.mem[b+blockPackets:])
	r.at = b + int(binary.NativeEndian.Uint32(r.mem[b+blockFirst:]))
	return true
}

// release gives the block back to the kernel.
func (r *Ring) release() {
	r.status(r.block).Store(unix.TP_STATUS_KERNEL)
	r.block = (r.block + 1) % (len(r.mem) / r.size)
	r.open, r.left = false, 0
}

// wait returns when a block may be ready, or after a while.
func (r *Ring) wait(most time.Duration) error {
	var events [1]unix.EpollEvent
	n, err := unix.EpollWait(int(r.wake.Fd()), events[:], int(most.Milliseconds())+1)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets: %w", err)
	}
	if n > 0 && !r.ready(r.block) { // a reader before this one left the kernel at another block
		if block, found := r.oldest(); found {
			r.block = block
		}
	}
	return nil
}

var errRing = errors.New("the ring of packets is not laid out as the kernel does it")

// packet reads the one that comes next. The kernel wrote where it lies, but reading beyond the block would be reading what
// it writes now.
func (r *Ring) packet(p *capture.Packet) error {
	end := (r.block + 1) * r.size
	if r.at < r.block*r.size+blockHeader || r.at+packetHeader > end {
		return errRing
	}
	h := r.mem[r.at:end]
	from, captured := int(binary.NativeEndian.Uint16(h[packetMAC:])), int(binary.NativeEndian.Uint32(h[packetCaptured:]))
	next := int(binary.NativeEndian.Uint32(h[packetNext:]))
	if from < packetHeader || from+captured > len(h) || r.left > 1 && next < packetHeader { // 0 stands in the last one only
		return errRing
	}
	r.number++
	p.Number = r.number
	p.Time = int64(binary.NativeEndian.Uint32(h[packetSeconds:]))*1e9 + int64(binary.NativeEndian.Uint32(h[packetNanos:]))
	p.Link = r.link
	p.Length = max(binary.NativeEndian.Uint32(h[packetLength:]), uint32(captured))
	p.Data = h[from : from+captured : from+captured]
	if status := binary.NativeEndian.Uint32(h[packetStatus:]); status&unix.TP_STATUS_VLAN_VALID != 0 && r.link == capture.LinkEthernet {
		r.putTag(p, h, from, status)
	}
	r.left--
	r.at += next
	return nil
}

const tagSize = 4

// putTag moves the two addresses into the room before the packet and writes the tag behind them.
func (r *Ring) putTag(p *capture.Packet, h []byte, from int, status uint32) {
	const addresses = 12
	if len(p.Data) < addresses || from-tagSize < packetHeader {
		return
	}
	kind := uint16(0x8100)
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		kind = binary.NativeEndian.Uint16(h[packetTagKind:])
	}
	whole := h[from-tagSize : from+len(p.Data) : from+len(p.Data)]
	copy(whole, p.Data[:addresses])
	binary.BigEndian.PutUint16(whole[addresses:], kind)
	binary.BigEndian.PutUint16(whole[addresses+2:], uint16(binary.NativeEndian.Uint32(h[packetTag:])))
	p.Data = whole
	p.Length += tagSize
}

// Close unmaps the ring. No packet that it gave may be looked at any more.
func (r *Ring) Close() error { return unix.Munmap(r.mem) }
