// Package filter turns an expression as tcpdump takes it into a program for the kernel, which then hands out only the
// packets that match.
//
// In goes text such as "tcp port 443 and not host 10.0.0.1", out comes classic BPF. Known are:
//
//	ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6, igmp
//	[ip|ip6|arp|rarp] [src|dst] host ADDRESS, net PREFIX      without a direction either side
//	[tcp|udp|sctp] [src|dst] port N, portrange N-M
//	[ip|ip6] proto N, ether proto N
//	ether [src|dst] host MAC
//	vlan [N]
//	less N, greater N                                         length of the packet
//	not, and, or, !, &&, ||, parentheses; "port 80 or 443" repeats what stood before
//
// As with tcpdump "and" and "or" bind alike, from left to right. Names of hosts and ports are not looked up: what a capture
// holds must not hang on a name server.
//
// Unlike with tcpdump every test looks behind VLAN tags: "host 10.0.0.1" matches in whatever VLAN, and "vlan 5" tests the
// outermost tag wherever it stands. The kernel takes tags off before a filter runs, or does not, by device and direction;
// a filter that depends on it would lose packets.
package filter

import (
	"fmt"

	"golang.org/x/net/bpf"
)

// Link is what a packet begins with.
type Link int

const (
	Ethernet Link = iota
	RawIP         // no link header, as on tun devices
)

// MaxLength bounds an expression, in bytes.
const MaxLength = 4096

// maxInstructions is what Linux takes.
const maxInstructions = 4096

// Compile makes the program for an expression; an empty one matches everything. The program returns snapLen for packets
// that match. It asks the kernel for tags that were taken off.
func Compile(expression string, link Link, snapLen uint32) ([]bpf.RawInstruction, error) {
	program, err := compile(expression, link, snapLen, true)
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(program)
}

func compile(expression string, link Link, snapLen uint32, kernel bool) ([]bpf.Instruction, error) {
	tree, err := parse(expression)
	if err != nil {
		return nil, err
	}
	if tree == nil {
		return []bpf.Instruction{bpf.RetConstant{Val: snapLen}}, nil
	}
	c := &compiler{link: link, kernel: kernel}
	match, refuse := c.label(), c.label()
	c.headers()
	if err := tree.emit(c, match, refuse); err != nil {
		return nil, err
	}
	c.place(match)
	c.add(bpf.RetConstant{Val: snapLen})
	c.place(refuse)
	c.add(bpf.RetConstant{Val: 0})
	if len(c.program) > maxInstructions {
		return nil, fmt.Errorf("the filter becomes %d instructions, more than the kernel's limit of %d: shorten it", len(c.program), maxInstructions)
	}
	return c.resolved(), nil
}
