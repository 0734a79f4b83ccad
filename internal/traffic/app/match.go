package app

import "slices"

// matcher finds the protocol of first bytes.
type matcher struct {
	by         [256][]uint16 // candidates by first byte
	candidates []candidate
}

type candidate struct {
	protocol  int
	recognise Recognise
	ports     []uint16
}

func (m *matcher) add(protocol int, p *Protocol, recognise Recognise) {
	if recognise == nil {
		return
	}
	n := uint16(len(m.candidates))
	m.candidates = append(m.candidates, candidate{protocol, recognise, p.Ports})
	if p.First == "" {
		for b := range m.by {
			m.by[b] = append(m.by[b], n)
		}
		return
	}
	for i := range len(p.First) {
		if b := p.First[i]; !slices.Contains(m.by[b], n) {
			m.by[b] = append(m.by[b], n)
		}
	}
}

// match is what a matcher found.
type match struct {
	protocol int
	verdict  Verdict
	swapped  bool // it fits with the roles of client and server exchanged
}

// sides is what is known about the sides of a flow beside its bytes.
type sides struct {
	ports   [2]uint16
	guessed bool // which one is the client is a guess
}

func (s sides) use(list []uint16) bool {
	return slices.Contains(list, s.ports[0]) || slices.Contains(list, s.ports[1])
}

// match asks the candidates. Sure counts before Likely with a usual port, then comes More, then Likely; among equals a
// usual port decides, then the order.
func (m *matcher) match(d Dir, b []byte, s sides) match {
	best, rank := match{}, 0
	for _, n := range m.by[b[0]] {
		c := &m.candidates[n]
		v, swapped := c.recognise(d, b), false
		if v == No && s.guessed {
			v, swapped = c.recognise(1-d, b), true
		}
		var score int
		switch v {
		case No:
			continue
		case More:
			score = 2
		case Likely:
			score = 1
			if s.use(c.ports) {
				score, v = 3, Sure
			}
		case Sure:
			score = 4
			if s.use(c.ports) {
				return match{c.protocol, Sure, swapped}
			}
		}
		if score > rank {
			best, rank = match{c.protocol, v, swapped}, score
		}
	}
	return best
}
