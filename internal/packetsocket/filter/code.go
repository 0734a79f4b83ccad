package filter

import "golang.org/x/net/bpf"

// What the program keeps in its memory about a packet.
const (
	memNetwork   = iota // where the network header begins
	memEtherType        // 0 when the network header is cut off
	memTransport        // where the transport header begins, 0 when there is none to read
	memProto            // of the transport, noProto outside IP
	memTag              // hasTag and the id of the outermost VLAN tag, 0 without one
)

const (
	noProto = 256
	hasTag  = 1 << 12

	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeRARP = 0x8035
	typeIPv6 = 0x86dd

	protoTCP, protoUDP, protoSCTP = 6, 17, 132
	protoFragment                 = 44
)

// label is a place in the program that may not be known yet.
type label int

// compiler collects instructions. Jumps name labels until resolved; all go forward.
type compiler struct {
	link    Link
	kernel  bool // tags may have been taken off, ask for them
	program []bpf.Instruction
	places  []int
	jumps   map[int]label // by index of the instruction
}

func (c *compiler) add(list ...bpf.Instruction) { c.program = append(c.program, list...) }

func (c *compiler) label() label {
	c.places = append(c.places, -1)
	return label(len(c.places) - 1)
}

func (c *compiler) place(l label) { c.places[l] = len(c.program) }

func (c *compiler) jump(to label) {
	if c.jumps == nil {
		c.jumps = map[int]label{}
	}
	c.jumps[len(c.program)] = to
	c.add(bpf.Jump{})
}

// branch goes to yes when A fulfils the condition and to no otherwise. Conditional jumps reach only 255 instructions, so
// they jump to jumps.
func (c *compiler) branch(cond bpf.JumpTest, val uint32, yes, no label) {
	c.add(bpf.JumpIf{Cond: cond, Val: val, SkipTrue: 0, SkipFalse: 1})
	c.jump(yes)
	c.jump(no)
}

func (c *compiler) resolved() []bpf.Instruction {
	for at, l := range c.jumps {
		c.program[at] = bpf.Jump{Skip: uint32(c.places[l] - at - 1)}
	}
	return c.program
}

func (c *compiler) load(memory int) { c.add(bpf.LoadScratch{Dst: bpf.RegA, N: memory}) }
func (c *compiler) save(memory int) { c.add(bpf.StoreScratch{Src: bpf.RegA, N: memory}) }
func (c *compiler) set(memory int, v uint32) {
	c.add(bpf.LoadConstant{Dst: bpf.RegA, Val: v})
	c.save(memory)
}

// at loads size bytes from offset behind the position that a memory holds.
func (c *compiler) at(memory int, offset uint32, size int) {
	c.add(bpf.LoadScratch{Dst: bpf.RegX, N: memory}, bpf.LoadIndirect{Off: offset, Size: size})
}

// room goes to no when the packet ends before n bytes behind the position that a memory holds: reading beyond the end
// would refuse the packet, whatever else is asked of it.
func (c *compiler) room(memory int, n uint32, no label) {
	yes := c.label()
	c.load(memory)
	c.add(
		bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: n}, bpf.TAX{},
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIfX{Cond: bpf.JumpGreaterOrEqual, SkipTrue: 0, SkipFalse: 1},
	)
	c.jump(yes)
	c.jump(no)
	c.place(yes)
}

// headers finds the headers of the packet.
func (c *compiler) headers() {
	c.set(memTransport, 0)
	c.set(memProto, noProto)
	c.set(memTag, 0)
	c.set(memEtherType, 0)
	cut, done := c.label(), c.label()
	if c.link == RawIP {
		c.rawIP(cut)
	} else {
		c.ethernet(cut)
	}
	v4, v6, arp, next, later := c.label(), c.label(), c.label(), c.label(), c.label()
	c.load(memEtherType)
	c.branch(bpf.JumpEqual, typeIPv4, v4, next)
	c.place(next)
	c.branch(bpf.JumpEqual, typeIPv6, v6, later)
	c.place(later)
	rarp := c.label()
	c.branch(bpf.JumpEqual, typeARP, arp, rarp)
	c.place(rarp)
	c.branch(bpf.JumpEqual, typeRARP, arp, done)
	c.place(arp)
	c.room(memNetwork, 28, cut)
	c.jump(done)
	c.place(v4)
	c.ipv4(cut)
	c.jump(done)
	c.place(v6)
	c.ipv6(cut)
	c.jump(done)
	c.place(cut)
	c.set(memEtherType, 0)
	c.place(done)
}

func (c *compiler) rawIP(cut label) {
	c.set(memNetwork, 0)
	c.room(memNetwork, 20, cut)
	four, six, done := c.label(), c.label(), c.label()
	c.add(bpf.LoadAbsolute{Off: 0, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftRight, Val: 4})
	c.branch(bpf.JumpEqual, 4, four, six)
	c.place(four)
	c.set(memEtherType, typeIPv4)
	c.jump(done)
	c.place(six)
	c.set(memEtherType, typeIPv6)
	c.place(done)
}

// ethernet steps over up to two tags and notes the outer one.
func (c *compiler) ethernet(cut label) {
	c.set(memNetwork, 14)
	c.room(memNetwork, 0, cut)
	if c.kernel {
		none, there := c.label(), c.label()
		c.add(bpf.LoadExtension{Num: bpf.ExtVLANTagPresent})
		c.branch(bpf.JumpEqual, 0, none, there)
		c.place(there)
		c.add(bpf.LoadExtension{Num: bpf.ExtVLANTag})
		c.noteTag()
		c.place(none)
	}
	done := c.label()
	c.add(bpf.LoadAbsolute{Off: 12, Size: 2})
	c.save(memEtherType)
	for range 2 {
		tagged := c.label()
		for _, kind := range []uint32{0x8100, 0x88a8, 0x9100} {
			other := c.label()
			c.branch(bpf.JumpEqual, kind, tagged, other)
			c.place(other)
		}
		c.jump(done)
		c.place(tagged)
		c.room(memNetwork, 4, done)
		outer, inner := c.label(), c.label()
		c.load(memTag)
		c.branch(bpf.JumpEqual, 0, outer, inner)
		c.place(outer)
		c.at(memNetwork, 0, 2)
		c.noteTag()
		c.place(inner)
		c.load(memNetwork)
		c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 4})
		c.save(memNetwork)
		c.add(bpf.ALUOpConstant{Op: bpf.ALUOpSub, Val: 2}, bpf.TAX{}, bpf.LoadIndirect{Size: 2})
		c.save(memEtherType)
	}
	c.place(done)
}

func (c *compiler) noteTag() {
	c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: hasTag - 1}, bpf.ALUOpConstant{Op: bpf.ALUOpOr, Val: hasTag})
	c.save(memTag)
}

func (c *compiler) ipv4(cut label) {
	done, first := c.label(), c.label()
	c.room(memNetwork, 20, cut)
	c.at(memNetwork, 9, 1)
	c.save(memProto)
	c.at(memNetwork, 6, 2)
	c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x1fff})
	c.branch(bpf.JumpEqual, 0, first, done) // later fragments have no transport header
	c.place(first)
	c.at(memNetwork, 0, 1)
	c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xf}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.LoadScratch{Dst: bpf.RegX, N: memNetwork}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
	c.transport()
	c.place(done)
}

// ipv6 reads the next header only, as tcpdump does, and that of a fragment behind it.
func (c *compiler) ipv6(cut label) {
	fragment, plain, done := c.label(), c.label(), c.label()
	c.room(memNetwork, 40, cut)
	c.at(memNetwork, 6, 1)
	c.save(memProto)
	c.branch(bpf.JumpEqual, protoFragment, fragment, plain)
	c.place(fragment)
	c.room(memNetwork, 48, done)
	c.at(memNetwork, 40, 1)
	c.save(memProto)
	c.jump(done)
	c.place(plain)
	c.load(memNetwork)
	c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 40})
	c.transport()
	c.place(done)
}

// transport keeps the position in A if ports can be read there.
func (c *compiler) transport() {
	short, done := c.label(), c.label()
	c.save(memTransport)
	c.room(memTransport, 4, short)
	c.jump(done)
	c.place(short)
	c.set(memTransport, 0)
	c.place(done)
}
