// Package aho looks for many byte strings at once, without regard to the case of letters.
package aho

// State is where a search stands: the zero value is the beginning, and one piece of text goes on where the last ended.
type State int32

// Automaton finds patterns by one step for each byte.
type Automaton struct {
	class   [256]uint8 // bytes that no pattern tells apart are one
	classes int
	next    []int32   // of a state and a class: the place of the next state's row, negative where that ends patterns
	ends    [][]int32 // by number of the state
}

// New makes an automaton; patterns are named by their index. An empty one is never found.
func New(patterns [][]byte) *Automaton {
	a := &Automaton{classes: 1}
	for _, p := range patterns {
		for _, b := range p {
			if b = fold(b); a.class[b] == 0 {
				a.class[b] = uint8(a.classes) // 230 at most
				a.classes++
			}
		}
	}
	for b := byte('A'); b <= 'Z'; b++ {
		a.class[b] = a.class[fold(b)]
	}
	a.grow()
	for i, p := range patterns {
		if len(p) > 0 {
			a.add(p, int32(i))
		}
	}
	a.link()
	return a
}

func fold(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 32
	}
	return b
}

func (a *Automaton) grow() int32 {
	a.next = append(a.next, make([]int32, a.classes)...)
	a.ends = append(a.ends, nil)
	return int32(len(a.ends) - 1)
}

func (a *Automaton) add(p []byte, name int32) {
	s := int32(0)
	for _, b := range p {
		at := int(s)*a.classes + int(a.class[b])
		if a.next[at] == 0 {
			n := a.grow()
			a.next[at] = n
		}
		s = a.next[at]
	}
	a.ends[s] = append(a.ends[s], name)
}

// link fills in where to go on when a pattern breaks off, and marks the states that end one.
func (a *Automaton) link() {
	fail := make([]int32, len(a.ends))
	var queue []int32
	for c := range a.classes {
		if n := a.next[c]; n != 0 {
			queue = append(queue, n)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		a.ends[s] = append(a.ends[s], a.ends[fail[s]]...)
		for c := range a.classes {
			at, other := int(s)*a.classes+c, a.next[int(fail[s])*a.classes+c]
			if n := a.next[at]; n != 0 {
				fail[n] = other
				queue = append(queue, n)
			} else {
				a.next[at] = other
			}
		}
	}
	for at, n := range a.next {
		a.next[at] = n * int32(a.classes)
		if len(a.ends[n]) > 0 {
			a.next[at] = -a.next[at]
		}
	}
}

// Size is how many bytes the tables take.
func (a *Automaton) Size() int { return 4 * len(a.next) }

// Find calls hit with each pattern that ends in text, and the position behind it.
func (a *Automaton) Find(text []byte, from State, hit func(pattern int32, end int)) State {
	return find(a, text, from, hit)
}

// FindString is Find for a text that is all there is.
func (a *Automaton) FindString(text string, hit func(pattern int32, end int)) { find(a, text, 0, hit) }

func find[T string | []byte](a *Automaton, text T, from State, hit func(pattern int32, end int)) State {
	s := int32(from)
	for i := range len(text) {
		if s = a.next[int(s)+int(a.class[text[i]])]; s < 0 {
			s = -s
			for _, p := range a.ends[int(s)/a.classes] {
				hit(p, i+1)
			}
		}
	}
	return State(s)
}
