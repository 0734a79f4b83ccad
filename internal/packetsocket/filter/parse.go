package filter

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"
)

// maxDepth bounds parentheses and negations, so that no expression can exhaust the stack.
const maxDepth = 64

// qualifiers are what stands before a value: "tcp src port".
type qualifiers struct{ proto, dir, kind string }

type parser struct {
	words []string
	last  qualifiers // of the test before, for values that stand alone
	depth int
}

// parse returns nil for an empty expression.
func parse(text string) (node, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("the filter has %d bytes, at most %d are taken", len(text), MaxLength)
	}
	p := &parser{words: split(text)}
	if len(p.words) == 0 {
		return nil, nil
	}
	tree, err := p.expression()
	if err != nil {
		return nil, fmt.Errorf("filter %q: %w", text, err)
	}
	if len(p.words) > 0 {
		return nil, fmt.Errorf("filter %q: %q is not understood where it stands: after a condition comes and, or, or the end", text, p.words[0])
	}
	return tree, nil
}

func split(text string) []string {
	for _, sign := range []string{"(", ")", "!", "&&", "||"} {
		text = strings.ReplaceAll(text, sign, " "+sign+" ")
	}
	return strings.Fields(text)
}

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

// take removes the next word if it is one of these.
func (p *parser) take(words ...string) (string, bool) {
	if w := p.peek(); w != "" && slices.Contains(words, w) {
		p.words = p.words[1:]
		return w, true
	}
	return "", false
}

func (p *parser) expression() (node, error) {
	left, err := p.factor()
	for err == nil {
		word, ok := p.take("and", "&&", "or", "||")
		if !ok {
			return left, nil
		}
		var right node
		if right, err = p.factor(); err != nil {
			return nil, err
		}
		if word == "and" || word == "&&" {
			left = and{left, right}
		} else {
			left = or{left, right}
		}
	}
	return nil, err
}

func (p *parser) factor() (node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("more than %d parentheses and negations are inside one another", maxDepth)
	}
	defer func() { p.depth-- }()
	if _, ok := p.take("not", "!"); ok {
		inner, err := p.factor()
		return not{inner}, err
	}
	if _, ok := p.take("("); ok {
		inner, err := p.expression()
		if err != nil {
			return nil, err
		}
		if _, ok := p.take(")"); !ok {
			return nil, fmt.Errorf("a closing parenthesis is missing")
		}
		return inner, nil
	}
	return p.test()
}

var etherTypes = map[string]uint32{"ip": typeIPv4, "ip6": typeIPv6, "arp": typeARP, "rarp": typeRARP}

var transports = map[string]uint32{"tcp": protoTCP, "udp": protoUDP, "sctp": protoSCTP, "icmp": 1, "icmp6": 58, "igmp": 2}

func (p *parser) test() (node, error) {
	if word, ok := p.take("vlan", "less", "greater"); ok {
		return p.special(word)
	}
	q, err := p.qualifiers()
	if err != nil {
		return nil, err
	}
	if q == (qualifiers{}) { // a value that stands alone
		q = p.last
	}
	p.last = q
	if q.proto != "" && q.dir == "" && q.kind == "" {
		return protocol(q.proto)
	}
	if len(p.words) == 0 {
		return nil, fmt.Errorf("it ends where a value is expected")
	}
	value := p.words[0]
	p.words = p.words[1:]
	switch q.kind {
	case "port", "portrange":
		return portTest(q, value)
	case "proto":
		return protoTest(q, value)
	case "net":
		return p.netTest(q, value)
	}
	return hostTest(q, value)
}

func (p *parser) qualifiers() (q qualifiers, err error) {
	q.proto, _ = p.take("ether", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp")
	if q.dir, _ = p.take("src", "dst"); q.dir != "" && len(p.words) > 1 {
		other := map[string]string{"src": "dst", "dst": "src"}[q.dir]
		if join := p.words[0]; (join == "or" || join == "and") && p.words[1] == other {
			p.words = p.words[2:]
			q.dir = map[string]string{"or": "", "and": "both"}[join]
			if q.dir == "" && !slices.Contains([]string{"host", "net", "port", "portrange"}, p.peek()) {
				return q, fmt.Errorf("after %q comes host, net, port or portrange", "src or dst")
			}
		}
	}
	q.kind, _ = p.take("host", "net", "port", "portrange", "proto")
	return q, nil
}

func (p *parser) special(word string) (node, error) {
	n, err := strconv.ParseUint(p.peek(), 10, 16)
	if err == nil {
		p.words = p.words[1:]
	}
	switch {
	case word == "vlan" && err != nil:
		return tagged{}, nil
	case word == "vlan" && n > 4095:
		return nil, fmt.Errorf("vlan %d: at most 4095", n)
	case word == "vlan":
		return equal{memTag, hasTag | uint32(n)}, nil
	case err != nil:
		return nil, fmt.Errorf("%s needs a number of bytes", word)
	case word == "less":
		return length{bpf.JumpLessOrEqual, uint32(n)}, nil
	}
	return length{bpf.JumpGreaterOrEqual, uint32(n)}, nil
}

func protocol(name string) (node, error) {
	if t, ok := etherTypes[name]; ok {
		return equal{memEtherType, t}, nil
	}
	n, ok := transports[name]
	if !ok {
		return nil, fmt.Errorf("after %q comes host or proto", name)
	}
	switch name {
	case "icmp", "igmp":
		return and{equal{memEtherType, typeIPv4}, equal{memProto, n}}, nil
	case "icmp6":
		return and{equal{memEtherType, typeIPv6}, equal{memProto, n}}, nil
	}
	return equal{memProto, n}, nil
}

func protoTest(q qualifiers, value string) (node, error) {
	number, err := strconv.ParseUint(value, 0, 16)
	n := uint32(number)
	if known, ok := transports[strings.TrimPrefix(value, `\`)]; ok && q.proto != "ether" {
		n, err = known, nil
	}
	if known, ok := etherTypes[strings.TrimPrefix(value, `\`)]; ok && q.proto == "ether" {
		n, err = known, nil
	}
	if err != nil || q.dir != "" || q.proto != "ether" && n > 255 {
		return nil, fmt.Errorf("proto %q: a number is expected", value)
	}
	switch q.proto {
	case "ether":
		return equal{memEtherType, n}, nil
	case "":
		return equal{memProto, n}, nil
	case "ip", "ip6":
		return and{equal{memEtherType, etherTypes[q.proto]}, equal{memProto, n}}, nil
	}
	return nil, fmt.Errorf("%s proto is not known, ip proto, ip6 proto and ether proto are", q.proto)
}

func portTest(q qualifiers, value string) (node, error) {
	first, last, isRange := strings.Cut(value, "-")
	if isRange != (q.kind == "portrange") {
		return nil, fmt.Errorf("%s %q: write port 80 or portrange 80-90", q.kind, value)
	}
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(cmp.Or(last, first), 10, 16)
	if err != nil || err2 != nil || from > to {
		return nil, fmt.Errorf("%s %q: numbers from 0 to 65535 are expected, names are not looked up", q.kind, value)
	}
	test := q.either(func(source bool) node {
		if source {
			return ports{0, uint32(from), uint32(to)}
		}
		return ports{2, uint32(from), uint32(to)}
	})
	switch q.proto {
	case "":
		return and{anyOf(equal{memProto, protoTCP}, equal{memProto, protoUDP}, equal{memProto, protoSCTP}), test}, nil
	case "tcp", "udp", "sctp":
		return and{equal{memProto, transports[q.proto]}, test}, nil
	}
	return nil, fmt.Errorf("%s has no ports", q.proto)
}

func hostTest(q qualifiers, value string) (node, error) {
	if q.proto == "ether" {
		mac, err := net.ParseMAC(value)
		if err != nil || len(mac) != 6 {
			return nil, fmt.Errorf("%q is no Ethernet address, as in ether host 02:00:5e:00:53:01", value)
		}
		return q.either(func(source bool) node {
			if source {
				return hardware{6, [6]byte(mac)}
			}
			return hardware{0, [6]byte(mac)}
		}), nil
	}
	addr, err := netip.ParseAddr(value)
	if err != nil || addr.Zone() != "" {
		return nil, fmt.Errorf("%q is no address; names are not looked up", value)
	}
	return addressTest(q, netip.PrefixFrom(addr, addr.BitLen()))
}

func (p *parser) netTest(q qualifiers, value string) (node, error) {
	prefix, err := netip.ParsePrefix(value)
	if err == nil && prefix != prefix.Masked() {
		return nil, fmt.Errorf("net %s has bits behind its length; did you mean %s?", value, prefix.Masked())
	}
	if err != nil {
		return nil, fmt.Errorf("net %q: a prefix is expected, as in net 10.0.0.0/8", value)
	}
	return addressTest(q, prefix)
}

func addressTest(q qualifiers, prefix netip.Prefix) (node, error) {
	places := []struct {
		proto    string
		src, dst uint32
		six      bool
	}{{"ip", 12, 16, false}, {"arp", 14, 24, false}, {"rarp", 14, 24, false}, {"ip6", 8, 24, true}}
	var tests []node
	for _, at := range places {
		if at.six != prefix.Addr().Is6() || q.proto != "" && q.proto != at.proto {
			continue
		}
		tests = append(tests, q.either(func(source bool) node {
			if source {
				return address{etherTypes[at.proto], at.src, prefix}
			}
			return address{etherTypes[at.proto], at.dst, prefix}
		}))
	}
	if len(tests) == 0 {
		return nil, fmt.Errorf("%s does not go with the address %s", q.proto, prefix)
	}
	return anyOf(tests...), nil
}

// either makes the test of the side or sides that are asked for.
func (q qualifiers) either(test func(source bool) node) node {
	switch q.dir {
	case "src":
		return test(true)
	case "dst":
		return test(false)
	case "both":
		return and{test(true), test(false)}
	}
	return or{test(true), test(false)}
}
