package idsrules

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"time"
)

// direction is which way a packet goes within its flow.
type direction uint8

const (
	toServer direction = iota
	toClient
)

func (d direction) back() direction { return 1 - d }

// flowKey names a flow, whichever way a packet goes: the smaller end stands first.
type flowKey struct {
	a, b         addr
	aPort, bPort uint16
	proto        uint8
}

// handshake is how far a TCP connection has come.
type handshake uint8

const (
	noHandshake handshake = iota
	sentSYN
	sentSYNACK
	connected
)

// flow is what is remembered of a conversation.
type flow struct {
	key            flowKey
	next           *flow // with the same place in the table
	newer, older   *flow // in the order of use
	client, server end
	last           int64
	app            application
	handshake      handshake
	seen           [2]bool
	judged         [2]bool // by the rules of addresses
	closed         [2]bool
	bits           []uint64 // flowbits
	sides          [2]side
	http           *httpConversation
	tls            *tlsConversation
	dnsRead        [2]int64 // how far messages over TCP were read
	bannerRead     [2]bool  // of SSH
}

// side is one direction of a TCP connection.
type side struct {
	started   bool
	encrypted bool // what follows is of no use
	next      uint32
	total     int64 // bytes in order so far
	base      int64 // where the window begins
	window    []byte
	waiting   []*rule // whose first content was found, and the rest not yet
	early     []segment
	earlySize int
}

// segment is one that came before its turn.
type segment struct {
	seq  uint32
	data []byte
}

const (
	keepBehind = 4 << 10  // bytes of a stream that stay when the window moves
	maxWindow  = 16 << 10 // bytes of a stream that are looked into at once
	maxEarly   = 64       // segments that wait for one that is missing
	maxWaiting = 32       // rules that wait for more of a stream
)

// idle is after how long without a packet a flow is another one.
func idle(proto uint8) int64 {
	if proto == protoTCP {
		return int64(time.Hour)
	}
	return int64(3 * time.Minute)
}

// flows are the conversations that are remembered; the one quiet for longest makes room.
type flows struct {
	table          []*flow // by the sum of their keys
	count          int
	seed           uint64
	newest, oldest *flow
	most           int
	buffered       int // bytes of all windows and early segments
	mostBuffered   int
	forgotten      uint64
	ended          func(*flow) // is told of each that is forgotten
	sets           func(addr) uint64
	free           *flow                 // those that were forgotten, to be used again, by newer
	windows        [windowSizes][][]byte // the same of windows, by size
}

// Windows have sizes from 512 bytes, each twice the one before.
const (
	leastWindow = 512
	windowSizes = 8
	spareEach   = 8 // windows of each size that are kept
)

func sizeOf(n int) int { return max(bits.Len(uint(n-1))-bits.Len(uint(leastWindow-1)), 0) }

// window is an empty one with room for so many bytes.
func (t *flows) window(n int) []byte {
	i := sizeOf(n)
	if i >= windowSizes {
		return make([]byte, 0, n)
	}
	if list := t.windows[i]; len(list) > 0 {
		w := list[len(list)-1]
		t.windows[i] = list[:len(list)-1]
		return w
	}
	return make([]byte, 0, leastWindow<<i)
}

// giveBack takes a window that nobody looks into any more.
func (t *flows) giveBack(w []byte) {
	if i := sizeOf(cap(w)); cap(w) > 0 && i < windowSizes && cap(w) == leastWindow<<i && len(t.windows[i]) < spareEach {
		t.windows[i] = append(t.windows[i], w[:0])
	}
}

func keyOf(p *packet) (k flowKey, swapped bool) {
	k = flowKey{a: p.src, b: p.dst, aPort: p.srcPort, bPort: p.dstPort, proto: p.proto}
	if p.proto == protoICMP || p.proto == protoICMPv6 {
		k.aPort, k.bPort = 0, 0
	}
	order := bytes.Compare(k.a[:], k.b[:])
	swapped = order > 0 || order == 0 && k.aPort > k.bPort
	if swapped {
		k.a, k.b, k.aPort, k.bPort = k.b, k.a, k.bPort, k.aPort
	}
	return k, swapped
}

// sum spreads keys over the table, in a way that nobody outside can foresee.
func (k *flowKey) sum(seed uint64) uint64 {
	word := binary.LittleEndian.Uint64
	h := fold(word(k.a[:])^seed, word(k.a[8:])^0x9e3779b97f4a7c15)
	h = fold(word(k.b[:])^h, word(k.b[8:])^seed)
	return fold(uint64(k.aPort)<<32|uint64(k.bPort)<<16|uint64(k.proto)^h, 0xd6e8feb86659fd93^seed)
}

func fold(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

func (t *flows) place(k *flowKey) **flow { return &t.table[k.sum(t.seed)&uint64(len(t.table)-1)] }

func (t *flows) get(k *flowKey) *flow {
	if t.count == 0 {
		return nil
	}
	f := *t.place(k)
	for f != nil && f.key != *k {
		f = f.next
	}
	return f
}

func (t *flows) put(f *flow) {
	if t.count >= len(t.table) {
		t.table = make([]*flow, max(2*len(t.table), 64))
		for old := t.oldest; old != nil; old = old.newer {
			at := t.place(&old.key)
			old.next, *at = *at, old
		}
	}
	at := t.place(&f.key)
	f.next, *at = *at, f
	t.count++
}

func (t *flows) delete(f *flow) {
	at := t.place(&f.key)
	for *at != f {
		at = &(*at).next
	}
	*at = f.next
	t.count--
}

// find returns the flow of a packet, and which way the packet goes.
func (t *flows) find(p *packet) (*flow, direction) {
	k, _ := keyOf(p)
	f := t.newest // packets of one conversation often come one after the other
	if f == nil || f.key != k {
		f = t.get(&k)
	}
	fresh := p.proto == protoTCP && p.flags&0x12 == 0x02 // a SYN begins another connection when the last is over
	if f != nil && (p.time-f.last > idle(p.proto) || fresh && (f.closed[0] || f.closed[1]) && f.handshake == connected) {
		t.remove(f)
		f = nil
	}
	if f == nil {
		for t.count >= t.most {
			t.forgotten++
			t.remove(t.oldest)
		}
		if f = t.free; f != nil {
			t.free = f.newer
			*f = flow{key: k}
		} else {
			f = &flow{key: k}
		}
		f.begin(p)
		f.client.sets, f.server.sets = t.sets(f.client.addr), t.sets(f.server.addr)
		t.put(f)
		t.link(f)
	} else if f != t.newest {
		t.unlink(f)
		t.link(f)
	}
	f.last = max(f.last, p.time)
	if p.src == f.client.addr && p.srcPort == f.client.port {
		return f, toServer
	}
	return f, toClient
}

// begin decides who is the client: who sends a SYN, or else first, unless that is plainly an answer.
func (f *flow) begin(p *packet) {
	answer := false
	switch p.proto {
	case protoTCP:
		answer = p.flags&0x12 == 0x12 || p.flags&0x02 == 0 && p.srcPort < p.dstPort
	case protoUDP:
		answer = p.srcPort < 1024 && p.dstPort >= 1024
	}
	f.client, f.server = end{addr: p.src, port: p.srcPort}, end{addr: p.dst, port: p.dstPort}
	if answer {
		f.client, f.server = f.server, f.client
	}
}

func (t *flows) link(f *flow) {
	f.older, f.newer = t.newest, nil
	if t.newest != nil {
		t.newest.newer = f
	}
	if t.newest = f; t.oldest == nil {
		t.oldest = f
	}
}

func (t *flows) unlink(f *flow) {
	if f.newer != nil {
		f.newer.older = f.older
	} else {
		t.newest = f.older
	}
	if f.older != nil {
		f.older.newer = f.newer
	} else {
		t.oldest = f.newer
	}
}

func (t *flows) remove(f *flow) {
	t.ended(f)
	t.release(f)
	t.unlink(f)
	t.delete(f)
	*f = flow{newer: t.free}
	t.free = f
}

// release gives back what a flow holds of its streams.
func (t *flows) release(f *flow) {
	for i := range f.sides {
		s := &f.sides[i]
		t.buffered -= cap(s.window) + s.earlySize
		t.giveBack(s.window)
		s.window, s.early, s.earlySize, s.waiting = nil, nil, 0, nil
	}
	if f.http != nil {
		t.buffered -= f.http.held
		f.http = nil
	}
	if f.tls != nil {
		for i := range f.tls.text {
			t.buffered -= cap(f.tls.text[i])
			f.tls.text[i] = nil
		}
	}
}

// crowd makes room when the streams of all flows take too much.
func (t *flows) crowd(but *flow) {
	for t.buffered > t.mostBuffered && t.oldest != but {
		t.forgotten++
		t.remove(t.oldest)
	}
}

// advance follows the handshake of a connection.
func (f *flow) advance(p *packet, d direction) {
	f.seen[d] = true
	if p.proto != protoTCP {
		return
	}
	const fin, syn, rst, ack = 1, 2, 4, 16
	switch {
	case p.flags&rst != 0:
		f.closed[0], f.closed[1] = true, true
	case p.flags&(syn|ack) == syn:
		f.handshake = max(f.handshake, sentSYN)
	case p.flags&(syn|ack) == syn|ack:
		f.handshake = max(f.handshake, sentSYNACK)
	case p.flags&ack != 0 && (d == toServer || f.handshake != sentSYN && f.handshake != sentSYNACK):
		f.handshake = connected
	}
	if p.flags&fin != 0 {
		f.closed[d] = true
	}
	s := &f.sides[d]
	if p.flags&syn != 0 && !s.started {
		s.started, s.next = true, p.seq+1
	}
}

func (f *flow) established() bool {
	if f.key.proto == protoTCP {
		return f.handshake == connected
	}
	return f.seen[0] && f.seen[1]
}

func (f *flow) bit(n int) bool { return n/64 < len(f.bits) && f.bits[n/64]>>(n%64)&1 != 0 }

func (f *flow) setBit(n int, on bool) {
	if n/64 >= len(f.bits) {
		if !on {
			return
		}
		f.bits = append(f.bits, make([]uint64, n/64+1-len(f.bits))...)
	}
	if on {
		f.bits[n/64] |= 1 << (n % 64)
	} else {
		f.bits[n/64] &^= 1 << (n % 64)
	}
}

// take puts a segment in its place of the stream and calls ready with what is in order now.
func (t *flows) take(f *flow, d direction, seq uint32, data []byte, ready func(data []byte, lost bool)) {
	s := &f.sides[d]
	if !s.started {
		s.started, s.next = true, seq
	}
	gap := int32(seq - s.next)
	switch {
	case gap <= 0:
		if int(-gap) >= len(data) {
			return
		}
		data = data[-gap:]
		s.next += uint32(len(data))
		ready(data, false)
	case len(s.early) < maxEarly:
		s.early = append(s.early, segment{seq, append([]byte(nil), data...)})
		s.earlySize += len(data)
		t.buffered += len(data)
		if len(s.early) < maxEarly {
			return
		}
		t.skip(f, d, ready)
	}
	t.catchUp(f, d, ready)
}

// catchUp takes the early segments whose turn has come.
func (t *flows) catchUp(f *flow, d direction, ready func(data []byte, lost bool)) {
	s := &f.sides[d]
	for i := 0; i < len(s.early); {
		one := s.early[i]
		gap := int32(one.seq - s.next)
		if gap > 0 {
			i++
			continue
		}
		s.early = append(s.early[:i], s.early[i+1:]...)
		s.earlySize -= len(one.data)
		t.buffered -= len(one.data)
		if int(-gap) < len(one.data) {
			data := one.data[-gap:]
			s.next += uint32(len(data))
			ready(data, false)
		}
		i = 0
	}
}

// skip gives a missing segment up and goes on behind it.
func (t *flows) skip(f *flow, d direction, ready func(data []byte, lost bool)) {
	s := &f.sides[d]
	if len(s.early) == 0 {
		return
	}
	first := s.early[0].seq
	for _, one := range s.early[1:] {
		if int32(one.seq-first) < 0 {
			first = one.seq
		}
	}
	s.next = first
	ready(nil, true)
	t.catchUp(f, d, ready)
}

// extend adds to the window of a stream.
func (t *flows) extend(s *side, data []byte) {
	if len(s.window)+len(data) > maxWindow && len(s.window) > keepBehind {
		cut := len(s.window) - keepBehind
		s.base += int64(cut)
		s.window = s.window[:copy(s.window, s.window[cut:])]
	}
	if need := len(s.window) + len(data); need > cap(s.window) {
		w := append(t.window(need), s.window...)
		t.buffered += cap(w) - cap(s.window)
		t.giveBack(s.window)
		s.window = w
	}
	s.window = append(s.window, data...)
	s.total += int64(len(data))
}

// drop forgets the window: the stream has a hole, or is looked into no further.
func (t *flows) drop(s *side) {
	t.buffered -= cap(s.window)
	t.giveBack(s.window)
	s.window, s.waiting = nil, nil
	s.base = s.total
}
