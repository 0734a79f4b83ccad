// Package dnsname takes the names of DNS apart: who registered what, what somebody made up below it, and whether that is words.
package dnsname

import (
	"math"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Lower returns the name in lower case: some resolvers spell names at random.
func Lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			b := []byte(name)
			for j := i; j < len(b); j++ {
				if c := b[j]; 'A' <= c && c <= 'Z' {
					b[j] = c + 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return name
}

// Split divides a name in lower case into what anybody below the domain may make up and the domain, which somebody had to
// register. A name that ends in nothing that could be a domain, as tunnels write that ask their own server, is all made up and
// has the domain "".
func Split(name string) (made, domain string) {
	suffix, official := publicsuffix.PublicSuffix(name)
	at := len(name) - len(suffix)
	if !official && !strings.Contains(suffix, ".") { // known to nobody: a site's own
		if coded(suffix) {
			return name, ""
		}
		return name[:max(0, at-1)], suffix
	}
	if at == 0 {
		return "", name
	}
	at = 1 + strings.LastIndexByte(name[:at-1], '.')
	return name[:max(0, at-1)], name[at:]
}

// coded reports whether the last label of a name is no word that a site would use.
func coded(label string) bool {
	return len(label) > 18 || strings.ContainsAny(label, `0123456789\`)
}

// ReverseTree ends the names that say where an address belongs, not what somebody made up.
const ReverseTree = ".arpa"

// Reversed reports whether a made-up part is an address that is looked up in a list: it begins with four numbers, or with the
// digits of an IPv6 address one by one, and has little behind them.
func Reversed(made string) bool {
	const behind = 24
	n, numbers, digits := 0, 0, 0
	for label := range strings.SplitSeq(made, ".") {
		n++
		if n == numbers+1 && isByte(label) {
			numbers = n
		}
		if n == digits+1 && len(label) == 1 && isHex(label[0]) {
			digits = n
		}
	}
	return numbers >= 4 && len(made) <= 4*4+behind || digits >= 32 && len(made) <= 32*2+behind
}

func isByte(label string) bool {
	for i := range len(label) {
		if label[i] < '0' || label[i] > '9' {
			return false
		}
	}
	return 1 <= len(label) && len(label) <= 3
}

func isHex(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' }

// Kinds of characters of a name in lower case: letters and digits each of their own.
const (
	kindDigit  = 26
	kindHyphen = 36
	kindOther  = 38 // what names of hosts do not have
	kindBinary = 39 // no character
	kinds      = 40
)

// Text is what stands in made-up labels, counted by character.
type Text [kinds]uint32

// Add counts the characters of a label and returns how many there are. A byte that is escaped is one.
func (t *Text) Add(label string) int {
	n := 0
	for i := 0; i < len(label); i++ {
		c := label[i]
		switch {
		case 'a' <= c && c <= 'z':
			t[c-'a']++
		case '0' <= c && c <= '9':
			t[kindDigit+c-'0']++
		case c == '-':
			t[kindHyphen]++
		case c == '_':
			t[kindHyphen+1]++
		case c == '\\' && i+3 < len(label):
			t[kindBinary]++
			i += 3
		default:
			t[kindOther]++
		}
		n++
	}
	return n
}

// Evenness is how much of the evenness that the characters allow is there, from 0 to 1: about 0.85 for words in names, 0.97 and
// more for what encodings make of random bytes.
func (t *Text) Evenness() float64 {
	total, used := t.Total(), 0.0
	entropy := 0.0
	for _, n := range t {
		if n > 0 {
			used++
			p := float64(n) / total
			entropy -= p * math.Log2(p)
		}
	}
	if used < 2 {
		return 0
	}
	const scale = 1000 // further digits differ between platforms
	return math.Round(scale*entropy/math.Log2(used)) / scale
}

// Total is how many characters there are.
func (t *Text) Total() float64 {
	total := 0.0
	for _, n := range t {
		total += float64(n)
	}
	return total
}

// Encoded reports whether the characters are data rather than words. It wants a good many of them.
func (t *Text) Encoded() bool {
	const enough, most, some, few = 64, 0.97, 0.03, 0.02
	total, used, hex, letters := t.Total(), 0, 0.0, 0.0
	for kind, n := range t {
		if n == 0 {
			continue
		}
		used++
		if kind < 6 || kind >= kindDigit && kind < kindHyphen {
			hex += float64(n)
		}
		if kind < kindDigit {
			letters += float64(n)
		}
	}
	switch {
	case total < enough:
		return false
	case float64(t[kindBinary]+t[kindOther]) >= few*total: // hosts have no such names
		return true
	case hex >= most*total:
		return letters >= some*total // numbers alone are addresses and dates
	}
	return used >= 12 && t.Evenness() >= 0.94
}

// Hash is FNV-1a with a last stir, so that its lower bits are as good as the upper ones.
func Hash[T string | []byte](b T) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(b) {
		h = (h ^ uint64(b[i])) * 1099511628211
	}
	h ^= h >> 29
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>32
}
