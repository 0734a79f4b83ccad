package pcre

// MaxSteps is how many instructions one search may take. What is not found until then counts as not there.
const MaxSteps = 200_000

// maxStack bounds the ways back that are remembered.
const maxStack = 1 << 16

type machine struct {
	slots []int
	stack []way
	steps int
	start int
}

// way is where to go on when the present way fails, or a slot to restore.
type way struct {
	pc, at int
	slot   int // one more than the slot to restore to at; 0 for a place to go on
	until  int // of a repetition of a set: the last position that is still to be tried
}

// Find searches text from position from on and returns where the first match lies. Exhausted says that the search was given up.
func (r *Regexp) Find(text []byte, from int) (start, end int, found, exhausted bool) {
	m := &r.machine
	m.steps, m.start = MaxSteps, from
	for at := from; at <= len(text); at++ {
		if r.begins && at > 0 {
			break
		}
		if r.first != nil && !r.anchored {
			for at < len(text) && !r.first.has(text[at]) {
				at++
			}
			if at == len(text) {
				break
			}
		}
		for i := range m.slots {
			m.slots[i] = -1
		}
		if end, ok := m.try(r.prog, 0, text, at); ok {
			return m.slots[0], end, true, false
		}
		if m.steps <= 0 {
			return 0, 0, false, true
		}
		if r.anchored {
			break
		}
	}
	return 0, 0, false, false
}

// try is run that leaves no ways back.
func (m *machine) try(prog []inst, pc int, text []byte, at int) (end int, ok bool) {
	base := len(m.stack)
	end, ok = m.run(prog, pc, text, at, base)
	m.stack = m.stack[:base]
	return end, ok
}

// run executes the program from pc on and returns where the match ends. The ways back below base are those of others.
func (m *machine) run(prog []inst, pc int, text []byte, at, base int) (end int, ok bool) {
	for {
		if m.steps--; m.steps <= 0 || len(m.stack) > maxStack {
			m.steps = 0
			return 0, false
		}
		in := &prog[pc]
		pc++
		good := true
		switch in.op {
		case opMatch:
			return at, true
		case opSet:
			good = at < len(text) && in.set.has(text[at])
			at++
		case opRepeat:
			at, good = m.repeat(in, pc, text, at)
		case opSplit:
			m.stack = append(m.stack, way{pc: in.y, at: at})
			pc = in.x
		case opJump:
			pc = in.x
		case opSave:
			m.stack = append(m.stack, way{slot: in.n + 1, at: m.slots[in.n]})
			m.slots[in.n] = at
		case opBackref:
			at, good = m.backref(in, text, at)
		case opAssert:
			good = m.holds(in.assert, text, at)
		case opLook:
			_, found := 0, false
			if at >= in.back {
				_, found = m.try(prog, pc, text, at-in.back)
			}
			good = found != in.negative
			pc = in.x
		case opAtomic:
			at, good = m.try(prog, pc, text, at)
			pc = in.x
		case opProgress:
			good = at > m.slots[in.n]
		}
		if good {
			continue
		}
		if pc, at, good = m.back(prog, base, text); !good {
			return 0, false
		}
	}
}

// back goes to the latest way that is left.
func (m *machine) back(prog []inst, base int, text []byte) (pc, at int, ok bool) {
	for len(m.stack) > base {
		top := &m.stack[len(m.stack)-1]
		switch {
		case top.slot > 0:
			m.slots[top.slot-1] = top.at
		case top.until < 0: // a lazy repetition: one more
			in := &prog[top.pc-1]
			if top.at >= len(text) || !in.set.has(text[top.at]) || top.until == -1 {
				break
			}
			top.at++
			top.until++
			return top.pc, top.at, true
		case top.until > 0: // a greedy one: one less
			pc, at = top.pc, top.at
			if top.at--; top.at < top.until-1 {
				m.stack = m.stack[:len(m.stack)-1]
			}
			return pc, at, true
		default:
			pc, at = top.pc, top.at
			m.stack = m.stack[:len(m.stack)-1]
			return pc, at, true
		}
		m.stack = m.stack[:len(m.stack)-1]
	}
	return 0, 0, false
}

// repeat reads bytes of a set. The ways back are one entry, however many bytes there are.
func (m *machine) repeat(in *inst, pc int, text []byte, at int) (int, bool) {
	longest := len(text) - at
	if in.max >= 0 {
		longest = min(longest, in.max)
	}
	want := longest
	if in.lazy {
		want = min(want, in.min)
	}
	n := 0
	for n < want && in.set.has(text[at+n]) {
		n++
	}
	m.steps -= n / 8
	if n < in.min {
		return at, false
	}
	switch {
	case in.poss:
	case in.lazy:
		if longest > n {
			m.stack = append(m.stack, way{pc: pc, at: at + n, until: -1 - (longest - n)})
		}
	case n > in.min:
		m.stack = append(m.stack, way{pc: pc, at: at + n - 1, until: at + in.min + 1})
	}
	return at + n, true
}

func (m *machine) backref(in *inst, text []byte, at int) (int, bool) {
	lo, hi := m.slots[2*in.n], m.slots[2*in.n+1]
	if lo < 0 || hi < lo || at+hi-lo > len(text) {
		return at, false
	}
	m.steps -= (hi - lo) / 8
	for i := range hi - lo {
		a, b := text[lo+i], text[at+i]
		if in.fold {
			a, b = lower(a), lower(b)
		}
		if a != b {
			return at, false
		}
	}
	return at + hi - lo, true
}

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 32
	}
	return b
}

func (m *machine) holds(a assert, text []byte, at int) bool {
	switch a {
	case assertBegin:
		return at == 0
	case assertLineBegin:
		return at == 0 || text[at-1] == '\n'
	case assertEnd:
		return at == len(text)
	case assertLastEnd:
		return at == len(text) || at == len(text)-1 && text[at] == '\n'
	case assertLineEnd:
		return at == len(text) || text[at] == '\n'
	case assertStart:
		return at == m.start
	}
	before := at > 0 && word.has(text[at-1])
	after := at < len(text) && word.has(text[at])
	return (before != after) == (a == assertWord)
}
