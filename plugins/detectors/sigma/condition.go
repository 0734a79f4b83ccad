package sigma

import (
	"path"
	"slices"
	"strings"
)

// node is a part of a compiled rule.
type node struct {
	op   op
	test int
	kids []*node
}

type op uint8

const (
	isTest op = iota
	all
	some
	not
)

func both(o op, kids []*node) *node {
	if len(kids) == 1 {
		return kids[0]
	}
	return &node{op: o, kids: kids}
}

// Limits of a condition.
const (
	maxWords = 4096
	maxDepth = 64
)

// keywordCondition is what a rule with a condition that is not understood is refused for.
const keywordCondition = "condition"

// condition reads the words that join the searches of a rule.
type condition struct {
	words    []string
	searches []search
	depth    int
}

// search is a part of a rule with a name.
type search struct {
	name string
	node *node
}

func readCondition(text string, searches []search) (*node, error) {
	if strings.ContainsRune(text, '|') {
		return nil, lacks(keywordCondition+" |", "sums over several events are not known here")
	}
	spaced := strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text)
	c := &condition{words: strings.Fields(spaced), searches: searches}
	if len(c.words) > maxWords {
		return nil, lacks(keywordCondition, "more than %d words", maxWords)
	}
	n, err := c.either()
	if err != nil {
		return nil, err
	}
	if len(c.words) > 0 {
		return nil, lacks(keywordCondition, "%q is not expected", c.words[0])
	}
	return n, nil
}

// next is the next word, in lower case when it is one of the language.
func (c *condition) next() string {
	if len(c.words) == 0 {
		return ""
	}
	return c.words[0]
}

func (c *condition) takes(word string) bool {
	if strings.EqualFold(c.next(), word) {
		c.words = c.words[1:]
		return true
	}
	return false
}

func (c *condition) either() (*node, error) { return c.joined(some, "or", c.every) }

func (c *condition) every() (*node, error) { return c.joined(all, "and", c.unless) }

func (c *condition) joined(o op, word string, part func() (*node, error)) (*node, error) {
	var kids []*node
	for {
		n, err := part()
		if err != nil {
			return nil, err
		}
		if kids = append(kids, n); !c.takes(word) {
			return both(o, kids), nil
		}
	}
}

func (c *condition) unless() (*node, error) {
	if c.depth++; c.depth > maxDepth {
		return nil, lacks(keywordCondition, "deeper than %d", maxDepth)
	}
	defer func() { c.depth-- }()
	switch {
	case c.takes("not"):
		n, err := c.unless()
		return &node{op: not, kids: []*node{n}}, err
	case c.takes("("):
		n, err := c.either()
		if err == nil && !c.takes(")") {
			err = lacks(keywordCondition, "a bracket is not closed")
		}
		return n, err
	}
	return c.named()
}

// named is one search, or some or all of those that a pattern names.
func (c *condition) named() (*node, error) {
	if len(c.words) == 0 {
		return nil, lacks(keywordCondition, "it ends too early")
	}
	word := c.words[0]
	c.words = c.words[1:]
	o := some
	switch strings.ToLower(word) {
	case "1", "any":
	case "all":
		o = all
	default:
		return c.search(word)
	}
	if !c.takes("of") {
		return c.search(word)
	}
	if len(c.words) == 0 {
		return nil, lacks(keywordCondition, "it ends too early")
	}
	pattern := c.words[0]
	c.words = c.words[1:]
	return c.of(o, pattern)
}

func (c *condition) search(name string) (*node, error) {
	i := slices.IndexFunc(c.searches, func(s search) bool { return s.name == name })
	if i < 0 {
		return nil, lacks(keywordCondition, "there is no %q", name)
	}
	return c.searches[i].node, nil
}

func (c *condition) of(o op, pattern string) (*node, error) {
	them := strings.EqualFold(pattern, "them")
	if !them && !strings.Contains(pattern, "*") {
		if o == all {
			return nil, lacks(keywordCondition, "all of %s may mean two things", pattern)
		}
		return c.search(pattern)
	}
	var kids []*node
	for _, s := range c.searches {
		if them && s.name[0] != '_' {
			kids = append(kids, s.node)
		} else if like, err := path.Match(pattern, s.name); !them && like && err == nil {
			kids = append(kids, s.node)
		}
	}
	if len(kids) == 0 {
		return nil, lacks(keywordCondition, "there is nothing like %q", pattern)
	}
	return both(o, kids), nil
}
