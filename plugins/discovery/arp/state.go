package arp

import "fmt"

// state is what the kernel knows about a neighbour (NUD_* in linux/neighbour.h).
type state uint16

const (
	stateIncomplete state = 0x01
	stateReachable  state = 0x02
	stateStale      state = 0x04
	stateDelay      state = 0x08
	stateProbe      state = 0x10
	stateFailed     state = 0x20
	stateNoARP      state = 0x40
	statePermanent  state = 0x80
)

// known reports whether the neighbour has answered at some time, or an administrator wrote it down.
func (s state) known() bool {
	return s&(stateReachable|stateStale|stateDelay|stateProbe|statePermanent) != 0
}

// confidence is lower for what was only heard of some time ago.
func (s state) confidence() float64 {
	switch {
	case s&(stateReachable|stateDelay|stateProbe) != 0:
		return 0.95
	case s&statePermanent != 0:
		return 0.7 // nobody has checked it
	}
	return 0.6
}

func (s state) String() string {
	switch s {
	case stateIncomplete:
		return "incomplete"
	case stateReachable:
		return "reachable"
	case stateStale:
		return "stale"
	case stateDelay:
		return "delay"
	case stateProbe:
		return "probe"
	case stateFailed:
		return "failed"
	case stateNoARP:
		return "noarp"
	case statePermanent:
		return "permanent"
	}
	return fmt.Sprintf("0x%02x", uint16(s))
}
