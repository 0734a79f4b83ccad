package idsrules

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// variables are what $NAME stands for.
type variables map[string]string

// defaultVariables are those that rules expect. Networks of servers are the home network, as in Suricata's own example.
var defaultVariables = variables{
	"HOME_NET":        "[10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,169.254.0.0/16,fc00::/7,fe80::/10]",
	"EXTERNAL_NET":    "!$HOME_NET",
	"HTTP_SERVERS":    "$HOME_NET",
	"SMTP_SERVERS":    "$HOME_NET",
	"SQL_SERVERS":     "$HOME_NET",
	"DNS_SERVERS":     "$HOME_NET",
	"TELNET_SERVERS":  "$HOME_NET",
	"AIM_SERVERS":     "any",
	"DC_SERVERS":      "$HOME_NET",
	"DNP3_SERVER":     "$HOME_NET",
	"DNP3_CLIENT":     "$HOME_NET",
	"MODBUS_SERVER":   "$HOME_NET",
	"MODBUS_CLIENT":   "$HOME_NET",
	"ENIP_SERVER":     "$HOME_NET",
	"ENIP_CLIENT":     "$HOME_NET",
	"BACNET_SERVER":   "$HOME_NET",
	"BACNET_CLIENT":   "$HOME_NET",
	"FINS_SERVER":     "$HOME_NET",
	"FINS_CLIENT":     "$HOME_NET",
	"MODICON_SERVER":  "$HOME_NET",
	"MODICON_CLIENT":  "$HOME_NET",
	"S7_SERVER":       "$HOME_NET",
	"S7_CLIENT":       "$HOME_NET",
	"HTTP_PORTS":      "80",
	"SHELLCODE_PORTS": "!80",
	"ORACLE_PORTS":    "1521",
	"SSH_PORTS":       "22",
	"DNP3_PORTS":      "20000",
	"MODBUS_PORTS":    "502",
	"FILE_DATA_PORTS": "[$HTTP_PORTS,110,143]",
	"FTP_PORTS":       "21",
	"GENEVE_PORTS":    "6081",
	"VXLAN_PORTS":     "4789",
	"TEREDO_PORTS":    "3544",
}

// addr is an address in 16 bytes, with those of version 4 as ::ffff:a.b.c.d: to compare and to hash.
type addr [16]byte

func addrOf(a netip.Addr) addr { return a.As16() }

func (a addr) netip() netip.Addr { return netip.AddrFrom16(a).Unmap() }

// span is from lo to hi, both included.
type span[T any] struct{ lo, hi T }

// spans are what a rule's addresses or ports may be: in one of yes, unless that is empty, and in none of no.
type spans[T any] struct {
	yes, no []span[T]
	full    span[T]
	shared  int // the bit of a set that many rules have, -1 for others
	compare func(a, b T) int
}

func (s *spans[T]) any() bool { return len(s.yes) == 0 && len(s.no) == 0 }

func (s *spans[T]) has(v T) bool {
	return (len(s.yes) == 0 || s.within(s.yes, v)) && (len(s.no) == 0 || !s.within(s.no, v))
}

func (s *spans[T]) within(list []span[T], v T) bool {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := (lo + hi) / 2
		switch {
		case s.compare(v, list[mid].lo) < 0:
			hi = mid
		case s.compare(v, list[mid].hi) > 0:
			lo = mid + 1
		default:
			return true
		}
	}
	return false
}

// settle sorts the spans and joins those that overlap.
func (s *spans[T]) settle() {
	for _, list := range []*[]span[T]{&s.yes, &s.no} {
		slices.SortFunc(*list, func(a, b span[T]) int { return s.compare(a.lo, b.lo) })
		var out []span[T]
		for _, one := range *list {
			if n := len(out); n > 0 && s.compare(one.lo, out[n-1].hi) <= 0 {
				if s.compare(one.hi, out[n-1].hi) > 0 {
					out[n-1].hi = one.hi
				}
				continue
			}
			out = append(out, one)
		}
		*list = out
	}
	if len(s.yes) == 1 && s.compare(s.yes[0].lo, s.full.lo) == 0 && s.compare(s.yes[0].hi, s.full.hi) == 0 {
		s.yes = nil
	}
}

type (
	addresses = spans[addr]
	ports     = spans[uint16]
)

// maxShared is how many sets of addresses are looked up once for each flow instead of for each rule.
const maxShared = 64

func (v variables) addresses(text string) (*addresses, error) {
	s := &addresses{shared: -1, full: allAddresses, compare: func(a, b addr) int { return bytes.Compare(a[:], b[:]) }}
	err := readSpans(v, text, false, 0, addressSpan, &s.yes, &s.no)
	s.settle()
	return s, err
}

func (v variables) ports(text string) (ports, error) {
	s := ports{full: allPorts, compare: func(a, b uint16) int { return int(a) - int(b) }}
	err := readSpans(v, text, false, 0, portSpan, &s.yes, &s.no)
	s.settle()
	return s, err
}

const maxNesting = 16

// unknownVariable is a $NAME that nothing says the meaning of.
type unknownVariable string

func (u unknownVariable) Error() string {
	return fmt.Sprintf("$%s is not known; say what it is under variables", string(u))
}

// readSpans resolves lists, exceptions and variables. What an exception excepts is not read back: ![a,!b] is refused.
func readSpans[T any](v variables, text string, negated bool, depth int, one func(string) (span[T], bool, error), yes, no *[]span[T]) error {
	if depth > maxNesting {
		return fmt.Errorf("%.40q is nested too deeply", text)
	}
	text = strings.TrimSpace(text)
	if rest, is := strings.CutPrefix(text, "!"); is {
		if negated {
			return fmt.Errorf("an exception of an exception: %.40q", text)
		}
		return readSpans(v, rest, true, depth+1, one, yes, no)
	}
	if name, is := strings.CutPrefix(text, "$"); is {
		meaning, known := v[name]
		if !known {
			return unknownVariable(name)
		}
		return readSpans(v, meaning, negated, depth+1, one, yes, no)
	}
	if strings.HasPrefix(text, "[") {
		if !strings.HasSuffix(text, "]") {
			return fmt.Errorf("no list: %.40q", text)
		}
		for _, part := range splitList(text[1 : len(text)-1]) {
			if err := readSpans(v, part, negated, depth+1, one, yes, no); err != nil {
				return err
			}
		}
		return nil
	}
	s, all, err := one(text)
	if err != nil {
		return err
	}
	switch {
	case all && negated:
		return fmt.Errorf("nothing is left: !%s", text)
	case negated:
		*no = append(*no, s)
	default:
		*yes = append(*yes, s)
	}
	return nil
}

// splitList splits at commas outside of brackets.
func splitList(text string) (parts []string) {
	depth, start := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				parts = append(parts, text[start:i])
				start = i + 1
			}
		}
	}
	return append(parts, text[start:])
}

var (
	allAddresses = span[addr]{hi: addr{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255}}
	allPorts     = span[uint16]{hi: 65535}
)

func addressSpan(text string) (s span[addr], all bool, err error) {
	if text == "any" {
		return allAddresses, true, nil
	}
	if low, high, is := strings.Cut(text, "-"); is {
		lo, err := netip.ParseAddr(strings.TrimSpace(low))
		if err != nil {
			return s, false, err
		}
		hi, err := netip.ParseAddr(strings.TrimSpace(high))
		if err != nil {
			return s, false, err
		}
		if hi.Less(lo) || hi.Is4() != lo.Is4() {
			return s, false, fmt.Errorf("no range: %q", text)
		}
		return span[addr]{addrOf(lo), addrOf(hi)}, false, nil
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		return span[addr]{addrOf(a), addrOf(a)}, false, err
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return s, false, err
	}
	s.lo, s.hi = addrOf(p.Masked().Addr()), addrOf(p.Masked().Addr())
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := bits; i < 128; i++ {
		s.hi[i/8] |= 128 >> (i % 8)
	}
	return s, false, nil
}

func portSpan(text string) (s span[uint16], all bool, err error) {
	if text == "any" {
		return allPorts, true, nil
	}
	low, high, isRange := strings.Cut(text, ":")
	number := func(text string, missing uint16) uint16 {
		if text = strings.TrimSpace(text); text == "" && isRange {
			return missing
		}
		n, parseErr := strconv.ParseUint(text, 10, 16)
		if parseErr != nil {
			err = fmt.Errorf("no port: %q", text)
		}
		return uint16(n)
	}
	s.lo = number(low, 0)
	s.hi = s.lo
	if isRange {
		s.hi = number(high, 65535)
	}
	if err == nil && s.hi < s.lo {
		err = fmt.Errorf("no range: %q", text)
	}
	return s, false, err
}
