package confine

import "github.com/picketwatch/picket/core/kernel/pluginhost/launch"

// RefusedCall is a call of the kernel that a process made and that was refused.
type RefusedCall struct {
	Call string // its name in the kernel: "ptrace"
	What string // what it says about its caller, in words that fit after "it"
}

// The families of sockets that are worth telling apart.
var families = map[uint32]string{1: "Unix datagrams", 2: "the network (IPv4)", 10: "the network (IPv6)", 16: "netlink", 17: "packets", 40: "vsock"}

// setSeccomp is PR_SET_SECCOMP, the request of prctl that puts a filter over the calls.
const setSeccomp = 22

// describeCall says what a call is, as far as its number and its arguments tell.
func describeCall(name string, native bool, args [6]uint64) RefusedCall {
	if !native {
		return RefusedCall{"foreign", launch.ForeignCall}
	}
	c := RefusedCall{name, launch.DeedOf(name)}
	if name == "prctl" && uint32(args[0]) == setSeccomp {
		c.What = launch.OwnFilter
	}
	if name == "socket" || name == "socketpair" {
		const rawSocket = 3
		family, ok := families[uint32(args[0])]
		if !ok {
			family = "an unusual family"
		}
		if ok && (args[0] == 2 || args[0] == 10) && args[1]&0xf == rawSocket {
			family = "raw packets of the network"
		}
		c.What += " for " + family
	}
	return c
}
