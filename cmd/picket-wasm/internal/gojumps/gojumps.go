// Package gojumps gives the functions of a Go guest direct jumps.
//
// The Go compiler does not know the structured jumps of WASM. It cuts a function into segments and puts them behind a
// dispatch, so that a goroutine can go on anywhere after a call:
//
//	loop                                   the dispatch
//	  block ... block                      one for each segment
//	    local.get 0, br_table              goes to the segment that the pc in local 0 belongs to
//	  end
//	  segment 0
//	  end
//	  segment 1 ...
//	end
//
// and a jump is "i32.const pc, local.set 0, br to the dispatch". Machine code that is made of this keeps all variables in
// memory across each jump and finds its target by a table. Here a jump forward becomes a br to the end of its block, and
// segments that form a loop which is entered at one place only become a loop of their own. What a function does is the
// same: each jump ends where the dispatch would have led it. A function that looks any other way stays as it is.
//
// All of this leans on a promise that only Go's compiler gives: a function is entered at its start, with pc 0, or where it
// goes on after a call. So a module that does not carry Go's build ID stays as it is too.
//
// What is made here is kept in the cache of compiled guests. Whoever changes it raises launch.GuestCode.
package gojumps

import (
	"cmp"
	"slices"
)

// The opcodes that matter here.
const (
	opUnreachable = 0x00
	opBlock       = 0x02
	opLoop        = 0x03
	opIf          = 0x04
	opElse        = 0x05
	opEnd         = 0x0b
	opBr          = 0x0c
	opBrIf        = 0x0d
	opBrTable     = 0x0e
	opReturn      = 0x0f
	opLocalGet    = 0x20
	opLocalSet    = 0x21
	opLocalTee    = 0x22
	opI32Const    = 0x41

	voidType     = 0x40
	functionType = 0x60
	i32Type      = 0x7f

	sectionCustom   = 0
	sectionType     = 1
	sectionFunction = 3
	sectionCode     = 10
)

// buildID names the section by which a module is known to be Go's.
const buildID = "go:buildid"

// maxFunction is the largest function that is rewritten: what is noted of one is many times its size.
const maxFunction = 1 << 20

// Rewrite returns the module with direct jumps and how many there are. What it cannot read it returns as it is: the
// compiler says better what is wrong with it.
func Rewrite(module []byte) (out []byte, jumps int) {
	takesPC, ok := goFunctions(module)
	if !ok {
		return module, 0
	}
	out, ok = eachSection(&reader{b: module}, func(section []byte) (code []byte, ok bool) {
		code, n, ok := rewriteCode(section, takesPC)
		jumps += n
		return code, ok
	})
	if !ok || jumps == 0 {
		return module, 0
	}
	return out, jumps
}

// goFunctions says of each function whether local 0 can be the pc, which Go's functions take as their first argument. It
// says no when the module is not Go's.
func goFunctions(module []byte) (takesPC []bool, ok bool) {
	r := &reader{b: module}
	r.skip(8) // magic and version
	var types []bool
	isGo := false
	for r.at < len(module) && !r.bad {
		id := r.byte()
		size := r.u32()
		at := r.at
		r.skip(int(size))
		if r.bad {
			break
		}
		section := &reader{b: module[at:r.at]}
		switch id {
		case sectionCustom:
			isGo = isGo || section.name() == buildID
		case sectionType:
			types = section.types()
		case sectionFunction:
			for n := section.u32(); n > 0 && !section.bad; n-- {
				t := int(section.u32())
				takesPC = append(takesPC, t < len(types) && types[t])
			}
		}
		r.bad = r.bad || section.bad
	}
	return takesPC, isGo && !r.bad
}

// rewriteCode rewrites the code section.
func rewriteCode(b []byte, takesPC []bool) (out []byte, jumps int, ok bool) {
	r := &reader{b: b}
	count := r.u32()
	if int(count) != len(takesPC) {
		return nil, 0, false
	}
	out = appendU32(make([]byte, 0, len(b)+len(b)/8), count)
	for i := 0; i < len(takesPC) && !r.bad; i++ {
		size := r.u32()
		at := r.at
		r.skip(int(size))
		if r.bad {
			break
		}
		body := b[at:r.at]
		if takesPC[i] && len(body) <= maxFunction {
			if f := parse(body); f != nil {
				if better, n := f.emit(); n > 0 {
					body, jumps = better, jumps+n
				}
			}
		}
		out = appendU32(out, uint32(len(body)))
		out = append(out, body...)
	}
	return out, jumps, !r.bad && r.at == len(b)
}

// function is one that has a dispatch.
type function struct {
	b        []byte
	head     int // where the loop of the dispatch begins
	outside  int // blocks that are open there
	table    []uint32
	fallback uint32 // of the table
	segments []segment
	end      int // where the last segment ends
	branches int // of all segments
	work     int // what may still be done to find loops, so that no guest takes longer than its size allows
}

// workPerByte is what a function may cost, in looks at one of its segments.
const workPerByte = 64

// segment is a piece of straight code, with ifs and inner blocks.
type segment struct {
	from, to int
	branches []branch
	entered  bool // by the dispatch, after a call or at the start
	falls    bool // its end is reached
}

// branch is one that leaves its segment.
type branch struct {
	from, to int    // its bytes, with those that set the pc if it is a jump
	op       byte   // opBr or opBrIf
	nest     int    // blocks of the segment that are open there
	jump     bool   // to a segment, else to what is outside of the dispatch
	target   int    // the segment, or how many blocks outside of the dispatch, 0 the next
	pc       []byte // what sets the pc
}

// parse returns nil for a function without a dispatch or with anything that is not known. Local 0 of the function is an
// argument, the pc where it is entered.
func parse(b []byte) *function {
	r := &reader{b: b}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		r.u32()
		r.skip(1)
	}
	f := &function{b: b, work: workPerByte * len(b)}
	for f.table == nil {
		at := r.at
		switch op := r.byte(); {
		case r.bad || op == opIf:
			return nil
		case op == opLoop:
			if r.byte() != voidType || !f.dispatch(r) {
				return nil
			}
			f.head = at
		case op == opBlock:
			f.outside++
			r.operands(op)
		case op == opLocalSet || op == opLocalTee:
			if r.u32() == 0 {
				return nil // then it is entered elsewhere
			}
		case op == opEnd:
			return nil
		default:
			r.operands(op)
		}
	}
	f.segments[f.table[0]].entered = true
	for i := range f.segments {
		if !f.segment(r, i) {
			return nil
		}
	}
	f.end = r.at - 1
	return f
}

// dispatch reads from the blocks up to the first segment.
func (f *function) dispatch(r *reader) bool {
	blocks := 0
	for r.at+1 < len(r.b) && r.b[r.at] == opBlock && r.b[r.at+1] == voidType {
		r.at += 2
		blocks++
	}
	if blocks == 0 || r.byte() != opLocalGet || r.u32() != 0 || r.byte() != opBrTable {
		return false
	}
	for n := r.u32(); n > 0 && !r.bad; n-- {
		f.table = append(f.table, r.u32())
	}
	f.fallback = r.u32()
	if r.bad || r.byte() != opEnd || len(f.table) == 0 {
		return false
	}
	for _, t := range append(f.table, f.fallback) {
		if int(t) >= blocks {
			return false
		}
	}
	f.segments = make([]segment, blocks)
	return true
}

// segment reads the segment with this number up to behind the end of its block.
func (f *function) segment(r *reader, number int) bool {
	s := &f.segments[number]
	s.from, s.falls = r.at, true
	nest := 0
	var setFrom, setTo int // the last bytes that set the pc
	var pc uint32
	for !r.bad {
		at := r.at
		op := r.byte()
		falls := true
		switch op {
		case opBlock, opLoop, opIf:
			nest++
		case opEnd:
			if nest == 0 {
				s.to = at
				return !r.bad
			}
			nest--
		case opI32Const:
			pc = r.u32()
			negative := r.b[r.at-1]&0x40 != 0
			if r.at+1 < len(r.b) && r.b[r.at] == opLocalSet && r.b[r.at+1] == 0 {
				if negative {
					return false // Go has no such pc
				}
				r.at += 2
				setFrom, setTo = at, r.at
			}
			s.falls = true
			continue
		case opBr, opBrIf:
			depth := int(r.u32()) - nest
			if depth >= 0 && !f.leave(number, branch{from: at, to: r.at, op: op, nest: nest}, depth, pc, setFrom, setTo) {
				return false
			}
			s.falls = op == opBrIf || nest > 0
			continue
		case opBrTable:
			for n := r.u32() + 1; n > 0 && !r.bad; n-- {
				if int(r.u32()) >= nest {
					return false
				}
			}
			s.falls = nest > 0
			continue
		case opUnreachable, opReturn:
			falls = nest > 0
		}
		r.operands(op)
		s.falls = falls
	}
	return false
}

// leave notes a branch that leaves the segment for a block so many beyond it.
func (f *function) leave(number int, b branch, depth int, pc uint32, setFrom, setTo int) bool {
	s := &f.segments[number]
	dispatch := len(f.segments) - 1 - number
	switch {
	case depth < dispatch:
		return false // into the dispatch by itself
	case depth > dispatch:
		b.target = depth - dispatch - 1
		if b.op == opBrIf && b.nest == 0 { // it follows a call: a goroutine may go on there, or at it to run what it deferred
			s.entered = true
			if number+1 < len(f.segments) {
				f.segments[number+1].entered = true
			}
		}
	default:
		if b.op != opBr || setTo != b.from || int(pc) >= len(f.table) {
			return false
		}
		b.from, b.jump, b.target, b.pc = setFrom, true, int(f.table[pc]), f.b[setFrom:setTo]
	}
	s.branches = append(s.branches, b)
	f.branches++
	return true
}

// unit is one segment, or a loop of units.
type unit struct {
	head        int    // the segment where it is entered
	first, last int    // its segments
	loop        []unit // in the order of the code, the one with the head in front; nil for a segment
}

// units returns the segments as loops and what is between them. A loop is entered nowhere but at its head.
func (f *function) units() []unit {
	last := map[int]int{} // by where a jump back leads: the last segment with such a jump
	for i := range f.segments {
		for _, b := range f.segments[i].branches {
			if b.jump && b.target <= i {
				last[b.target] = i
			}
		}
	}
	var tries []unit
	for first, end := range last {
		tries = append(tries, unit{first: first, last: end})
	}
	slices.SortFunc(tries, func(a, b unit) int { // the inner before the outer
		return cmp.Or(cmp.Compare(a.last-a.first, b.last-b.first), cmp.Compare(a.first, b.first))
	})
	units := make([]unit, len(f.segments))
	for i := range units {
		units[i] = unit{head: i, first: i, last: i}
	}
	for _, t := range tries {
		from := slices.IndexFunc(units, func(u unit) bool { return u.first == t.first })
		to := slices.IndexFunc(units, func(u unit) bool { return u.last == t.last })
		if f.work -= len(f.segments); f.work < 0 {
			break
		}
		if from < 0 || to < from {
			continue
		}
		if loop, ok := f.loop(units[from : to+1]); ok {
			units = slices.Replace(units, from, to+1, loop)
		}
	}
	return units
}

// loop makes these units a loop, if only one of them is entered from outside or jumped back to.
func (f *function) loop(units []unit) (unit, bool) {
	first, last := units[0].first, units[len(units)-1].last
	if f.work -= len(f.segments) + f.branches; f.work < 0 {
		return unit{}, false
	}
	head := f.entry(first, last)
	at := slices.IndexFunc(units, func(u unit) bool { return u.head == head })
	if at < 0 || units[at].loop != nil || last == len(f.segments)-1 && f.segments[last].falls {
		return unit{}, false
	}
	order := slices.Concat(units[at:], units[:at])
	place := func(segment int) int {
		return slices.IndexFunc(order, func(u unit) bool { return segment >= u.first && segment <= u.last })
	}
	for i := first; i <= last; i++ {
		f.work -= len(order) * (1 + len(f.segments[i].branches))
		if f.work < 0 {
			return unit{}, false
		}
		own := place(i)
		for _, b := range f.segments[i].branches {
			if b.jump && b.target >= first && b.target <= last && b.target != head && place(b.target) <= own &&
				(place(b.target) < own || order[own].loop == nil) {
				return unit{}, false
			}
		}
	}
	return unit{head: head, first: first, last: last, loop: order}, true
}

// entry is the only segment from first to last that is entered from outside, -1 when there are none or several.
func (f *function) entry(first, last int) int {
	head, several := -1, false
	enter := func(i int) {
		several = several || head >= 0 && head != i
		head = i
	}
	for i := first; i <= last; i++ {
		if f.segments[i].entered {
			enter(i)
		}
	}
	if first > 0 && f.segments[first-1].falls {
		enter(first)
	}
	for i := range f.segments {
		if i >= first && i <= last {
			continue
		}
		for _, b := range f.segments[i].branches {
			if b.jump && b.target >= first && b.target <= last {
				enter(b.target)
			}
		}
	}
	if several {
		return -1
	}
	return head
}

// appendSegments appends the segments of the unit in the order of the code.
func (u unit) appendSegments(to []int) []int {
	if u.loop == nil {
		return append(to, u.head)
	}
	for _, inner := range u.loop {
		to = inner.appendSegments(to)
	}
	return to
}

// emitter writes a function anew.
type emitter struct {
	*function
	out   []byte
	open  []label
	at    []int // by segment: where its label is in open, -1 when it is not
	next  []int // by segment: the one whose code follows
	jumps int
}

// label is a block that is open.
type label struct {
	segment int // -1 for one of no segment
	before  int // where the label of that segment was
}

// emit returns the function with direct jumps and how many.
func (f *function) emit() (out []byte, jumps int) {
	e := &emitter{function: f, out: append(make([]byte, 0, len(f.b)), f.b[:f.head]...), next: make([]int, len(f.segments))}
	units := f.units()
	var ends, code []int // the segments in the order in which the blocks of the dispatch end, and in that of the code
	for _, u := range units {
		from := len(code)
		code = u.appendSegments(code)
		ends = append(append(ends, code[from+1:]...), u.head)
	}
	for i, s := range code {
		e.next[s] = -1
		if i+1 < len(code) {
			e.next[s] = code[i+1]
		}
	}
	e.at = slices.Repeat([]int{-1}, len(f.segments))
	e.open = slices.Repeat([]label{{segment: -1}}, f.outside)
	e.begin(opLoop, -1)
	depth := make([]uint32, len(ends))
	for i, s := range slices.Backward(ends) {
		depth[s] = uint32(i)
		e.begin(opBlock, s)
	}
	e.out = append(e.out, opLocalGet, 0, opBrTable)
	e.out = appendU32(e.out, uint32(len(f.table)))
	for _, t := range append(slices.Clone(f.table), f.fallback) {
		e.out = appendU32(e.out, depth[t])
	}
	for _, u := range units {
		if rest := u.appendSegments(nil)[1:]; len(rest) > 0 {
			if u.first > 0 && f.segments[u.first-1].falls {
				e.br(opBr, e.depth(u.head))
			}
			for range rest {
				e.finish()
			}
			e.out = append(e.out, opUnreachable) // the dispatch leads to none of them
		}
		e.unit(u)
	}
	return append(e.out, f.b[f.end:]...), e.jumps
}

// begin opens a block or loop with the label of a segment, -1 for none.
func (e *emitter) begin(op byte, segment int) {
	e.out = append(e.out, op, voidType)
	l := label{segment: segment}
	if segment >= 0 {
		l.before, e.at[segment] = e.at[segment], len(e.open)
	}
	e.open = append(e.open, l)
}

func (e *emitter) finish() {
	e.out = append(e.out, opEnd)
	l := e.open[len(e.open)-1]
	e.open = e.open[:len(e.open)-1]
	if l.segment >= 0 {
		e.at[l.segment] = l.before
	}
}

// unit writes the code of a unit, behind the end of its block.
func (e *emitter) unit(u unit) {
	e.finish()
	if u.loop == nil {
		e.segment(u.head)
		return
	}
	e.begin(opLoop, u.head)
	for _, inner := range slices.Backward(u.loop) {
		e.begin(opBlock, inner.head)
	}
	for _, inner := range u.loop {
		e.unit(inner)
	}
	e.finish()
}

// depth is how many blocks out the label of a segment is, -1 when it is not around.
func (e *emitter) depth(segment int) int {
	if e.at[segment] < 0 {
		return -1
	}
	return len(e.open) - 1 - e.at[segment]
}

// outsideDepth is how many blocks out the dispatch is.
func (e *emitter) outsideDepth() int { return len(e.open) - 1 - e.outside }

func (e *emitter) br(op byte, depth int) {
	e.out = append(e.out, op)
	e.out = appendU32(e.out, uint32(depth))
}

// segment writes the code of a segment with its branches led anew.
func (e *emitter) segment(number int) {
	s := &e.segments[number]
	at := s.from
	for _, b := range s.branches {
		e.out = append(e.out, e.b[at:b.from]...)
		at = b.to
		if !b.jump {
			e.br(b.op, b.nest+e.outsideDepth()+1+b.target)
			continue
		}
		e.out = append(e.out, b.pc...)
		if d := e.depth(b.target); d >= 0 {
			e.br(opBr, b.nest+d)
			e.jumps++
			continue
		}
		e.br(opBr, b.nest+e.outsideDepth())
	}
	e.out = append(e.out, e.b[at:s.to]...)
	if s.falls && number+1 < len(e.segments) && e.next[number] != number+1 {
		e.br(opBr, e.depth(number+1))
	}
}
