package tunnel

import (
	"math"
	"strings"

	"github.com/picketwatch/picket/plugins/detectors/internal/dnsname"
)

// splitter takes names apart, and remembers what it did last: an answer has the name of its question.
type splitter struct {
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
	if strings.HasSuffix(name, dnsname.ReverseTree) || s.looksUp(name) {
		return apart
	}
	made, domain := dnsname.Split(name)
	switch {
	case dnsname.Reversed(made):
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
