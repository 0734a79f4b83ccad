package pcre

import (
	"errors"
	"slices"
)

type op uint8

const (
	opMatch    op = iota
	opSet         // one byte of set
	opRepeat      // bytes of set, from min to max of them
	opSplit       // go to x, and to y when that fails
	opJump        // to x
	opSave        // the position in slot n
	opBackref     // what group n matched
	opAssert      //
	opLook        // the program behind this instruction up to x, without going on
	opAtomic      // the same, and go on where it ended
	opProgress    // fail when nothing was read since slot n was saved
)

type inst struct {
	op       op
	lazy     bool
	poss     bool
	negative bool
	fold     bool
	assert   assert
	set      *set
	x, y, n  int
	min, max int // max -1 is no end
	back     int // of a look-behind: how many bytes
}

// maxProgram bounds what a repetition is written out to.
const maxProgram = 20_000

var errTooLarge = errors.New("too large")

type compiler struct {
	prog     []inst
	groups   int
	counters int
	visits   int // of nodes: a repetition of nothing writes nothing, and takes its time all the same
}

func (c *compiler) emit(i inst) int {
	c.prog = append(c.prog, i)
	return len(c.prog) - 1
}

func (c *compiler) node(n *node) error {
	if c.visits++; len(c.prog) > maxProgram || c.visits > 4*maxProgram {
		return errTooLarge
	}
	switch n.kind {
	case kindSet:
		c.emit(inst{op: opSet, set: &n.set})
	case kindCat:
		for _, sub := range n.subs {
			if err := c.node(sub); err != nil {
				return err
			}
		}
	case kindAlt:
		return c.alternatives(n)
	case kindRepeat:
		return c.repeat(n)
	case kindGroup:
		c.emit(inst{op: opSave, n: 2 * n.n})
		if err := c.node(n.subs[0]); err != nil {
			return err
		}
		c.emit(inst{op: opSave, n: 2*n.n + 1})
	case kindBackref:
		c.emit(inst{op: opBackref, n: n.n, fold: n.fold})
	case kindAssert:
		c.emit(inst{op: opAssert, assert: n.assert})
	case kindLook:
		return c.look(n)
	case kindAtomic:
		return c.inner(inst{op: opAtomic}, n.subs[0])
	}
	return nil
}

func (c *compiler) alternatives(n *node) error {
	var ends []int
	for i, sub := range n.subs {
		split := -1
		if i < len(n.subs)-1 {
			split = c.emit(inst{op: opSplit})
			c.prog[split].x = split + 1
		}
		if err := c.node(sub); err != nil {
			return err
		}
		if split >= 0 {
			ends = append(ends, c.emit(inst{op: opJump}))
			c.prog[split].y = len(c.prog)
		}
	}
	for _, at := range ends {
		c.prog[at].x = len(c.prog)
	}
	return nil
}

func (c *compiler) repeat(n *node) error {
	sub := n.subs[0]
	if sub.kind == kindSet {
		c.emit(inst{op: opRepeat, set: &sub.set, min: n.min, max: n.max, lazy: n.lazy, poss: n.possessive})
		return nil
	}
	if n.possessive {
		greedy := *n
		greedy.possessive = false
		return c.inner(inst{op: opAtomic}, &greedy)
	}
	for range n.min {
		if err := c.node(sub); err != nil {
			return err
		}
	}
	if n.max < 0 {
		return c.loop(n)
	}
	var splits []int
	for range n.max - n.min {
		splits = append(splits, c.emit(inst{op: opSplit, lazy: n.lazy}))
		if err := c.node(sub); err != nil {
			return err
		}
	}
	for _, at := range splits {
		c.prog[at].branch(at+1, len(c.prog), n.lazy)
	}
	return nil
}

// loop repeats without end. A turn that reads nothing ends it.
func (c *compiler) loop(n *node) error {
	counter := 2*c.groups + c.counters
	c.counters++
	split := c.emit(inst{op: opSplit})
	c.emit(inst{op: opSave, n: counter})
	if err := c.node(n.subs[0]); err != nil {
		return err
	}
	c.emit(inst{op: opProgress, n: counter})
	c.emit(inst{op: opJump, x: split})
	c.prog[split].branch(split+1, len(c.prog), n.lazy)
	return nil
}

func (i *inst) branch(inside, behind int, lazy bool) {
	i.x, i.y = inside, behind
	if lazy {
		i.x, i.y = behind, inside
	}
}

func (c *compiler) inner(i inst, sub *node) error {
	at := c.emit(i)
	if err := c.node(sub); err != nil {
		return err
	}
	c.emit(inst{op: opMatch})
	c.prog[at].x = len(c.prog)
	return nil
}

// look compiles one program for each length that a look-behind can have, so that the way back is known.
func (c *compiler) look(n *node) error {
	if !n.behind {
		return c.inner(inst{op: opLook, negative: n.negative}, n.subs[0])
	}
	subs := []*node{n.subs[0]}
	if subs[0].kind == kindAlt {
		subs = subs[0].subs
	}
	if len(subs) > 1 && !n.negative {
		alt := &node{kind: kindAlt}
		for _, sub := range subs {
			alt.subs = append(alt.subs, &node{kind: kindLook, behind: true, subs: []*node{sub}})
		}
		return c.node(alt)
	}
	for _, sub := range subs {
		width, fixed := sub.width()
		if !fixed {
			return errors.New("a look-behind of no certain length")
		}
		if err := c.inner(inst{op: opLook, negative: n.negative, back: width}, sub); err != nil {
			return err
		}
	}
	return nil
}

// width is how many bytes a node matches, where that is always the same.
func (n *node) width() (width int, fixed bool) {
	switch n.kind {
	case kindSet:
		return 1, true
	case kindEmpty, kindAssert, kindLook:
		return 0, true
	case kindCat, kindGroup, kindAtomic:
		for _, sub := range n.subs {
			w, fixed := sub.width()
			if !fixed {
				return 0, false
			}
			width += w
		}
		return width, true
	case kindAlt:
		for i, sub := range n.subs {
			w, fixed := sub.width()
			if !fixed || i > 0 && w != width {
				return 0, false
			}
			width = w
		}
		return width, true
	case kindRepeat:
		w, fixed := n.subs[0].width()
		return w * n.min, fixed && n.min == n.max && w*n.min <= maxText
	}
	return 0, false
}

// begins reports whether a match can be at the beginning of the text alone.
func begins(n *node) bool {
	switch n.kind {
	case kindAssert:
		return n.assert == assertBegin
	case kindGroup, kindAtomic:
		return begins(n.subs[0])
	case kindCat:
		return len(n.subs) > 0 && begins(n.subs[0])
	case kindAlt:
		return !slices.ContainsFunc(n.subs, func(sub *node) bool { return !begins(sub) })
	}
	return false
}

// firstOf is the set of bytes that a match begins with; false when it may begin with anything, or be empty.
func firstOf(n *node) (s set, some bool) {
	switch n.kind {
	case kindSet:
		return n.set, true
	case kindGroup, kindAtomic:
		return firstOf(n.subs[0])
	case kindCat:
		for _, sub := range n.subs {
			if sub.kind == kindAssert && sub.assert != assertStart || sub.kind == kindLook {
				continue
			}
			if sub.kind == kindRepeat && sub.min == 0 {
				return s, false
			}
			return firstOf(sub)
		}
	case kindAlt:
		ok := !slices.ContainsFunc(n.subs, func(sub *node) bool {
			one, some := firstOf(sub)
			s.addSet(one)
			return !some
		})
		return s, ok
	case kindRepeat:
		if n.min > 0 {
			return firstOf(n.subs[0])
		}
	}
	return s, false
}
