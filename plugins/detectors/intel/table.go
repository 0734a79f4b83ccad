package intel

import (
	"hash/maphash"
	"net/netip"
)

// kind is what an entry is.
type kind uint8

const (
	address kind = iota // a network of one host
	network
	domain
	url
	sha256
	md5
	ja3
	ja4
	kinds
)

var kindNames = [kinds]string{"address", "network", "domain", "url", "sha256", "md5", "ja3", "ja4"}

// entry is an indicator: two sums that only the right value has both of, under seeds that nobody knows, and what is said of it.
type entry struct {
	sum, check uint64
	expires    uint32 // hours since 1970, 0 for never
	added      uint32 // hours since 1970, 0 when it is not known
	list       uint16
	source     uint16
	confidence uint8 // percent
}

// table finds entries. A place of it holds the number of an entry and eight bits of its sum, so that nearly every value that is not
// there costs one look.
type table struct {
	entries []entry
	places  []uint32 // one more than the number of an entry, below the bits; a power of two, half full at most
	seeds   [2]maphash.Seed
	has     [kinds]bool
	v4, v6  []int // lengths of networks that there are
	doubled int
}

// maxEntries is what a place can number.
const maxEntries = 1<<24 - 2

func newTable() *table { return &table{seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}} }

func (t *table) sumOf(seed int, k kind, value []byte) uint64 {
	return maphash.Bytes(t.seeds[seed], value) ^ uint64(k)*0x9e3779b97f4a7c15
}

func (t *table) mark(sum uint64) uint32 { return uint32(sum>>56) << 24 }

// find returns the entry of a value.
func (t *table) find(k kind, value []byte) *entry {
	if !t.has[k] {
		return nil
	}
	sum := t.sumOf(0, k, value)
	mask := uint64(len(t.places) - 1)
	for at := sum & mask; t.places[at] != 0; at = (at + 1) & mask {
		if place := t.places[at]; place&0xff000000 == t.mark(sum) {
			if e := &t.entries[place&0xffffff-1]; e.sum == sum && e.check == t.sumOf(1, k, value) {
				return e
			}
		}
	}
	return nil
}

// add takes an entry; false when the table is full. Of two with the same value the one that lasts longer counts.
func (t *table) add(k kind, value []byte, e entry) bool {
	if old := t.find(k, value); old != nil {
		t.doubled++
		if e.lasts() > old.lasts() {
			e.sum, e.check = old.sum, old.check
			*old = e
		}
		return true
	}
	if len(t.entries) >= maxEntries {
		return false
	}
	e.sum, e.check = t.sumOf(0, k, value), t.sumOf(1, k, value)
	t.entries = append(t.entries, e)
	t.has[k] = true
	if 2*len(t.entries) > len(t.places) {
		t.places = make([]uint32, max(64, 2*len(t.places)))
		for i := range t.entries {
			t.put(i)
		}
		return true
	}
	t.put(len(t.entries) - 1)
	return true
}

func (t *table) put(i int) {
	mask, sum := uint64(len(t.places)-1), t.entries[i].sum
	at := sum & mask
	for t.places[at] != 0 {
		at = (at + 1) & mask
	}
	t.places[at] = uint32(i+1) | t.mark(sum)
}

func (e *entry) lasts() uint32 { return e.expires - 1 } // never is the longest

// keySize is an address and the length of its network.
const keySize = 17

func keyOf(p netip.Prefix) (b [keySize]byte) {
	a := p.Addr().As16()
	copy(b[:], a[:])
	b[keySize-1] = byte(p.Bits())
	if p.Addr().Is4() {
		b[keySize-1] |= 0x80
	}
	return b
}

// addNetwork takes a network, also that of a single host.
func (t *table) addNetwork(p netip.Prefix, e entry) bool {
	p = p.Masked()
	lengths := &t.v6
	if p.Addr().Is4() {
		lengths = &t.v4
	}
	at := 0
	for at < len(*lengths) && (*lengths)[at] > p.Bits() {
		at++
	}
	if at == len(*lengths) || (*lengths)[at] != p.Bits() {
		*lengths = append(*lengths, 0)
		copy((*lengths)[at+1:], (*lengths)[at:])
		(*lengths)[at] = p.Bits()
	}
	key := keyOf(p)
	return t.add(network, key[:], e)
}

// findAddress returns the entry of the smallest network that an address is in.
func (t *table) findAddress(a netip.Addr) (*entry, netip.Prefix) {
	lengths := t.v6
	if a.Is4() {
		lengths = t.v4
	}
	for _, bits := range lengths {
		p, err := a.Prefix(bits)
		if err != nil {
			continue
		}
		key := keyOf(p)
		if e := t.find(network, key[:]); e != nil {
			return e, p
		}
	}
	return nil, netip.Prefix{}
}

// longestName is the longest name of DNS.
const longestName = 255

// findName returns the entry of a name or of a name that it is below, and how many bytes of the name that is.
func (t *table) findName(name string) (e *entry, matched int) {
	if !t.has[domain] || len(name) > longestName || len(name) == 0 {
		return nil, 0
	}
	var room [longestName]byte
	lower := room[:len(name)]
	dots := 0
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c == '.':
			dots++
		}
		lower[i] = c
	}
	for from := 0; dots > 0; dots-- {
		if e := t.find(domain, lower[from:]); e != nil {
			return e, len(name) - from
		}
		for lower[from] != '.' {
			from++
		}
		from++
	}
	return nil, 0
}

// hours is a time as entries hold it.
func hours(ns int64) uint32 { return uint32(max(0, ns/3600e9)) }

// expired reports whether an entry says nothing any more.
func (e *entry) expired(ns int64) bool { return e.expires > 0 && hours(ns) >= e.expires }

// digest is the bytes of a sum in hexadecimal, nil when it is none of that many bytes.
func digest(room *[32]byte, text string, size int) []byte {
	if len(text) != 2*size {
		return nil
	}
	for i := range size {
		high, ok1 := nibble(text[2*i])
		low, ok2 := nibble(text[2*i+1])
		if !ok1 || !ok2 {
			return nil
		}
		room[i] = high<<4 | low
	}
	return room[:size]
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
