package filter

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/net/bpf"
)

// node is a part of an expression. emit appends code that goes to yes or to no.
type node interface {
	emit(c *compiler, yes, no label) error
}

type (
	and struct{ left, right node }
	or  struct{ left, right node }
	not struct{ inner node }

	// equal compares a memory with a value.
	equal struct {
		memory int
		value  uint32
	}
	// address compares the addresses at one place of one kind of header with a prefix.
	address struct {
		etherType uint32
		offset    uint32
		prefix    netip.Prefix
	}
	ports struct {
		offset   uint32 // 0 source, 2 destination
		from, to uint32
	}
	hardware struct {
		offset uint32 // 0 destination, 6 source
		mac    [6]byte
	}
	tagged struct{}
	length struct {
		cond  bpf.JumpTest
		bytes uint32
	}
)

func (n and) emit(c *compiler, yes, no label) error {
	next := c.label()
	if err := n.left.emit(c, next, no); err != nil {
		return err
	}
	c.place(next)
	return n.right.emit(c, yes, no)
}

func (n or) emit(c *compiler, yes, no label) error {
	next := c.label()
	if err := n.left.emit(c, yes, next); err != nil {
		return err
	}
	c.place(next)
	return n.right.emit(c, yes, no)
}

func (n not) emit(c *compiler, yes, no label) error { return n.inner.emit(c, no, yes) }

func (n equal) emit(c *compiler, yes, no label) error {
	c.load(n.memory)
	c.branch(bpf.JumpEqual, n.value, yes, no)
	return nil
}

func (n address) emit(c *compiler, yes, no label) error {
	next := c.label()
	if err := (equal{memEtherType, n.etherType}).emit(c, next, no); err != nil {
		return err
	}
	c.place(next)
	bits, raw := n.prefix.Bits(), n.prefix.Masked().Addr().AsSlice()
	for at := 0; at < len(raw) && bits > 0; at += 4 {
		mask := ^uint32(0)
		if bits < 32 {
			mask <<= 32 - bits
		}
		bits -= 32
		c.at(memNetwork, n.offset+uint32(at), 4)
		c.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
		same := c.label()
		c.branch(bpf.JumpEqual, binary.BigEndian.Uint32(raw[at:]), same, no)
		c.place(same)
	}
	c.jump(yes)
	return nil
}

func (n ports) emit(c *compiler, yes, no label) error {
	there, above := c.label(), c.label()
	c.load(memTransport)
	c.branch(bpf.JumpEqual, 0, no, there)
	c.place(there)
	c.at(memTransport, n.offset, 2)
	c.branch(bpf.JumpGreaterOrEqual, n.from, above, no)
	c.place(above)
	c.branch(bpf.JumpGreaterThan, n.to, no, yes)
	return nil
}

var errNotEthernet = errors.New("this interface has no Ethernet addresses")

func (n hardware) emit(c *compiler, yes, no label) error {
	if c.link != Ethernet {
		return errNotEthernet
	}
	next := c.label()
	c.add(bpf.LoadAbsolute{Off: n.offset, Size: 4})
	c.branch(bpf.JumpEqual, binary.BigEndian.Uint32(n.mac[:]), next, no)
	c.place(next)
	c.add(bpf.LoadAbsolute{Off: n.offset + 4, Size: 2})
	c.branch(bpf.JumpEqual, uint32(binary.BigEndian.Uint16(n.mac[4:])), yes, no)
	return nil
}

func (tagged) emit(c *compiler, yes, no label) error {
	c.load(memTag)
	c.branch(bpf.JumpEqual, 0, no, yes)
	return nil
}

func (n length) emit(c *compiler, yes, no label) error {
	c.add(bpf.LoadExtension{Num: bpf.ExtLen})
	c.branch(n.cond, n.bytes, yes, no)
	return nil
}

// anyOf joins alternatives.
func anyOf(list ...node) node {
	n := list[0]
	for _, other := range list[1:] {
		n = or{n, other}
	}
	return n
}
