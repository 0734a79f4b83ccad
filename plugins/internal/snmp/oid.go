package snmp

import (
	"slices"
	"strconv"
	"strings"
)

// OID names an object: numbers with dots between them, none in front.
type OID string

// maxArcs is how many numbers an object's name may have (RFC 2578, 3.5).
const maxArcs = 128

// Arcs returns the numbers of a name, nil when it is none.
func (o OID) Arcs() []uint32 {
	if o == "" {
		return nil
	}
	arcs := make([]uint32, 0, 16)
	for part := range strings.SplitSeq(string(o), ".") {
		n, err := strconv.ParseUint(part, 10, 32)
		if err != nil || len(arcs) == maxArcs {
			return nil
		}
		arcs = append(arcs, uint32(n))
	}
	return arcs
}

// Compare orders names as an agent walks through them.
func (o OID) Compare(other OID) int { return slices.Compare(o.Arcs(), other.Arcs()) }

// Below returns what follows a prefix, false when the name is not below it.
func (o OID) Below(prefix OID) (string, bool) {
	rest, ok := strings.CutPrefix(string(o), string(prefix))
	if !ok || len(rest) < 2 || rest[0] != '.' {
		return "", false
	}
	return rest[1:], true
}

// Index returns the numbers of the index of a row.
func Index(index string) []uint32 { return OID(index).Arcs() }
