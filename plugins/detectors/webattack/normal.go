package webattack

// maxText is how much of a text is looked at.
const maxText = 2 << 10

// hidden are the bytes without which a text is nothing but itself, and no attack.
var hidden [256]bool

func init() {
	for _, c := range []byte("%<>'\"(;|`${+*=\\\n") {
		hidden[c] = true
	}
}

// plain reports whether a text holds nothing that attacks are written with.
func plain[T string | []byte](text T) bool {
	for i := range len(text) {
		if hidden[text[i]] || text[i] == '.' && i > 0 && text[i-1] == '.' {
			return false
		}
	}
	return true
}

// layers is how often a text may be written in percents, one within the other.
const layers = 3

// normal is a text in small letters without what hides it: percents, entities of HTML, comments and pluses in the place of spaces.
func normal[T string | []byte](into []byte, text T) []byte {
	into = append(into[:0], text[:min(len(text), maxText)]...)
	for range layers {
		n := len(into)
		if into = unescaped(into); len(into) == n {
			break
		}
	}
	out := into[:0]
	for i := 0; i < len(into); i++ {
		c := into[i]
		switch {
		case c == 0:
			continue
		case c == '+' || c == '\t' || c == '\r' || c == 0x0b || c == 0x0c || c == 0xa0:
			c = ' '
		case c == '/' && i+1 < len(into) && into[i+1] == '*':
			end := i + 2
			for end+1 < len(into) && (into[end] != '*' || into[end+1] != '/') {
				end++
			}
			if end+1 < len(into) {
				i, c = end+1, ' '
			}
		case c == '&':
			if letter, size := entity(into[i:]); size > 0 {
				i, c = i+size-1, letter
			}
		case c == '\\':
			c = '/'
		}
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		out = append(out, c)
	}
	return out
}

// unescaped undoes one layer of percents, those of Microsoft (%u0027) among them.
func unescaped(b []byte) []byte {
	out := b[:0]
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '%' {
			if i+5 < len(b) && (b[i+1] == 'u' || b[i+1] == 'U') && b[i+2] == '0' && b[i+3] == '0' {
				if v, ok := hexOf(b[i+4], b[i+5]); ok {
					c, i = v, i+5
				}
			} else if i+2 < len(b) {
				if v, ok := hexOf(b[i+1], b[i+2]); ok {
					c, i = v, i+2
				}
			}
		}
		out = append(out, c)
	}
	return out
}

func hexOf(a, b byte) (byte, bool) {
	x, y := digit(a), digit(b)
	return x<<4 | y&15, x < 16 && y < 16
}

func digit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 0xff
}

var entities = [...]struct {
	name   string
	letter byte
}{{"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&amp;", '&'}, {"&apos;", '\''}}

// entity is the letter of ASCII that an entity at the beginning of b stands for, and its length.
func entity(b []byte) (letter byte, size int) {
	for _, e := range entities {
		if len(b) >= len(e.name) && string(b[:len(e.name)]) == e.name {
			return e.letter, len(e.name)
		}
	}
	if len(b) < 4 || b[1] != '#' {
		return 0, 0
	}
	base, i := 10, 2
	if b[2] == 'x' || b[2] == 'X' {
		base, i = 16, 3
	}
	v, from := 0, i
	for ; i < len(b) && i < from+7; i++ {
		d := int(digit(b[i]))
		if d >= base {
			break
		}
		v = v*base + d
	}
	if i == from || v == 0 || v > 0x7e {
		return 0, 0
	}
	if i < len(b) && b[i] == ';' {
		i++
	}
	return byte(v), i
}
