package tunnel

import (
	"math"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// splitter takes names apart. It owns the room in which a name is put into lower case, and remembers what it did last: an answer
// has the name of its question.
type splitter struct {
	room    [2048]byte
	lookups map[string]bool // domains whose names carry data by design
	recent  [256]parted
}

// parted is a name that was taken apart: a hash of it, and where its domain begins.
type parted struct {
	name uint64
	at   uint16
}

// nowhere is where the domain of a name begins that has none, and apart that of one that is not looked at.
const (
	nowhere = math.MaxUint16 - iota
	apart
)

// part divides a name in lower case, whose hash is given. It reports whether the name is to be looked at.
func (s *splitter) part(name string, h uint64) (made, domain string, look bool) {
	one := &s.recent[h%uint64(len(s.recent))]
	if one.name != h || int(one.at) > len(name) && one.at < apart {
		*one = parted{h, s.begin(name)}
	}
	switch one.at {
	case apart:
		return "", "", false
	case nowhere:
		return name, "", true
	}
	return name[:max(0, int(one.at)-1)], name[one.at:], true
}

func (s *splitter) begin(name string) uint16 {
	if strings.HasSuffix(name, reverseTree) || s.looksUp(name) {
		return apart
	}
	made, domain := split(name)
	switch {
	case reversed(made):
		return apart
	case domain == "":
		return nowhere
	}
	return uint16(len(name) - len(domain))
}

// looksUp reports whether a name lies below one that carries data by design.
func (s *splitter) looksUp(name string) bool {
	for at := len(name); at > 0; {
		at = strings.LastIndexByte(name[:at], '.')
		if s.lookups[name[at+1:]] {
			return true
		}
	}
	return false
}

// lower returns the name in lower case: some resolvers spell names at random. It is valid until the next call.
func (s *splitter) lower(name string) string {
	for i := range len(name) {
		if c := name[i]; 'A' <= c && c <= 'Z' {
			n := copy(s.room[:], name)
			for j := i; j < n; j++ {
				if c := s.room[j]; 'A' <= c && c <= 'Z' {
					s.room[j] = c + 'a' - 'A'
				}
			}
			return string(s.room[:n])
		}
	}
	return name
}

// split divides a name in lower case into what anybody below the domain may make up and the domain, which somebody had to
// register. A name that ends in nothing that could be a domain, as tunnels write that ask their own server, is all made up and
// has the domain "".
func split(name string) (made, domain string) {
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

// reverseTree ends the names that say where an address belongs, not what somebody made up.
const reverseTree = ".arpa"

// reversed reports whether a made-up part is an address that is looked up in a list: it begins with four numbers, or with the
// digits of an IPv6 address one by one, and has little behind them.
func reversed(made string) bool {
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
	kindOther  = 38 // what host names do not have but encodings do
	kindBinary = 39 // no character
	kinds      = 40
)

// text is what stands in made-up labels, counted by character.
type text [kinds]uint32

// add counts the characters of a label and returns how many there are. A byte that is escaped is one.
func (t *text) add(label string) int {
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

// labels remembers which labels came before: one that comes again and again is part of every name, not data.
type labels struct {
	fresh               [16]uint32 // in a ring
	kept                [8]uint32  // that came again
	nextFresh, nextKept uint8      // where the next one goes
}

// novel reports whether a label is new.
func (l *labels) novel(h uint32) bool {
	for _, one := range l.kept {
		if one == h {
			return false
		}
	}
	for _, one := range l.fresh {
		if one == h {
			l.kept[l.nextKept%uint8(len(l.kept))] = h
			l.nextKept++
			return false
		}
	}
	l.fresh[l.nextFresh%uint8(len(l.fresh))] = h
	l.nextFresh++
	return true
}

// hashLike reports whether a label has the length that a hash or a UUID has in a usual spelling: MD5, SHA-1 and SHA-256 in
// digits of 16, 32 or 64, and 36 for a UUID.
func hashLike(length int) bool {
	switch length {
	case 26, 32, 36, 40, 43, 52, 56:
		return true
	}
	return false
}
