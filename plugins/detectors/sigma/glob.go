package sigma

import (
	"strings"
	"unicode/utf8"
)

// glob is a pattern of texts: bytes, letters in lower case unless it is cased, and what stands for others.
type glob struct {
	tokens []int16
	cased  bool
}

const (
	one  int16 = 256 + iota // ? stands for a character
	many                    // * stands for any number of them
)

// parseGlob reads a value of a rule. A backslash before a wildcard or a backslash takes their meaning away, and is itself elsewhere.
func parseGlob(value string) []int16 {
	var out []int16
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c == '\\' && i+1 < len(value) && strings.IndexByte(`*?\`, value[i+1]) >= 0:
			i++
			out = append(out, int16(value[i]))
		case c == '*':
			if n := len(out); n == 0 || out[n-1] != many {
				out = append(out, many)
			}
		case c == '?':
			out = append(out, one)
		default:
			out = append(out, int16(c))
		}
	}
	return out
}

func literal(text string) []int16 {
	out := make([]int16, len(text))
	for i := range len(text) {
		out[i] = int16(text[i])
	}
	return out
}

func newGlob(tokens []int16, cased bool) glob {
	if !cased {
		for i, t := range tokens {
			tokens[i] = fold(t)
		}
	}
	return glob{tokens, cased}
}

func fold(t int16) int16 {
	if t >= 'A' && t <= 'Z' {
		return t + 'a' - 'A'
	}
	return t
}

// plain is the text of a pattern without wildcards.
func plain(tokens []int16) (string, bool) {
	b := make([]byte, len(tokens))
	for i, t := range tokens {
		if t >= one {
			return "", false
		}
		b[i] = byte(t)
	}
	return string(b), true
}

// longest is the longest piece of a pattern without wildcards.
func (g *glob) longest() string {
	var best, now []byte
	for _, t := range g.tokens {
		if t >= one {
			now = nil
			continue
		}
		if now = append(now, byte(t)); len(now) > len(best) {
			best = now
		}
	}
	return string(best)
}

// match compares a whole text with the pattern. Who gets stuck goes back to the last star alone, so it takes at most as many steps as
// the product of their lengths.
func (g *glob) match(text string) bool {
	at, star, back := 0, -1, 0
	i := 0
	for i < len(text) {
		if at < len(g.tokens) {
			switch t := g.tokens[at]; {
			case t == many:
				star, back = at, i
				at++
				continue
			case t == one:
				_, n := utf8.DecodeRuneInString(text[i:])
				i += n
				at++
				continue
			case t == g.byteOf(text[i]):
				i++
				at++
				continue
			}
		}
		if star < 0 {
			return false
		}
		back++
		i, at = back, star+1
	}
	for at < len(g.tokens) && g.tokens[at] == many {
		at++
	}
	return at == len(g.tokens)
}

func (g *glob) byteOf(c byte) int16 {
	if g.cased {
		return int16(c)
	}
	return fold(int16(c))
}
