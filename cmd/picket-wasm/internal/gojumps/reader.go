package gojumps

// reader reads a module. After something that it does not know, bad is set.
type reader struct {
	b   []byte
	at  int
	bad bool
}

func (r *reader) byte() byte {
	if r.bad || r.at >= len(r.b) {
		r.bad = true
		return 0
	}
	r.at++
	return r.b[r.at-1]
}

func (r *reader) skip(n int) {
	if r.bad || n < 0 || n > len(r.b)-r.at {
		r.bad = true
		return
	}
	r.at += n
}

func (r *reader) u32() uint32 {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		x := r.byte()
		v |= uint64(x&0x7f) << shift
		if x < 0x80 {
			return uint32(v)
		}
	}
	r.bad = true
	return 0
}

// number skips one of any size and sign.
func (r *reader) number() {
	for range 10 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.bad = true
}

// name reads one.
func (r *reader) name() string {
	n := int(r.u32())
	at := r.at
	r.skip(n)
	if r.bad {
		return ""
	}
	return string(r.b[at:r.at])
}

// types reads the types of functions and says of each whether its first argument is an i32.
func (r *reader) types() (out []bool) {
	for n := r.u32(); n > 0 && !r.bad; n-- {
		r.bad = r.byte() != functionType || r.bad
		arguments := int(r.u32())
		out = append(out, arguments > 0 && r.at < len(r.b) && r.b[r.at] == i32Type)
		r.skip(arguments)
		r.skip(int(r.u32()))
	}
	return out
}

func appendU32(b []byte, v uint32) []byte {
	for v >= 0x80 {
		b = append(b, byte(v)|0x80)
		v >>= 7
	}
	return append(b, byte(v))
}

// operands skips what follows an opcode, with the opcodes that Go uses and the rest of WASM 1.0.
func (r *reader) operands(op byte) {
	switch {
	case op <= 0x01, op == opElse, op == opEnd, op == opReturn, op == 0x1a, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	case op == opBlock, op == opLoop, op == opIf, op == opI32Const, op == 0x42, op == 0xd0:
		r.number()
	case op == opBr, op == opBrIf, op == 0x10, op >= opLocalGet && op <= 0x26, op == 0x3f, op == 0x40, op == 0xd2:
		r.u32()
	case op == 0x11: // call_indirect
		r.u32()
		r.u32()
	case op == opBrTable:
		for n := r.u32(); n > 0 && !r.bad; n-- {
			r.u32()
		}
		r.u32()
	case op == 0x1c: // select with types
		r.skip(int(r.u32()))
	case op >= 0x28 && op <= 0x3e: // memory
		r.bad = r.u32() >= 32 || r.bad // of which memory
		r.number()
	case op == 0x43:
		r.skip(4)
	case op == 0x44:
		r.skip(8)
	case op == 0xfc:
		r.extended(r.u32())
	default:
		r.bad = true
	}
}

func (r *reader) extended(op uint32) {
	switch op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case 9, 11, 13, 15, 16, 17:
		r.u32()
	case 8, 10, 12, 14:
		r.u32()
		r.u32()
	default:
		r.bad = true
	}
}
