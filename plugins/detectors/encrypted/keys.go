package encrypted

import (
	"time"
)

// Signs of somebody at the keys, beside those of a stranger.
const (
	keysUnnamed uint32 = 1 << iota
	keysNoProtocols
	keysSelfSigned
	keysOddPort
	keysBackwards // the client says more than it is told: the shell is on its side
	keysStranger  // nobody else knows the server
	keysShape     // told always
)

var keyWords = []string{"no name is asked for", "no protocols are offered", "the server vouches for itself", "the port is unusual", "the client says more than it is told", "nobody else calls that server"}

// How keystrokes and their echo look in TLS: a line of 20 to 100 bytes in a record, an answer, a pause to think, and so on for minutes.
const (
	keysLast      = time.Minute
	keysPackets   = 60    // each way
	smallPacket   = 160.0 // the mean, headers and acknowledgements counted
	smallAnswer   = 420.0
	fastest       = 0.02 // seconds between packets, in the mean
	slowest       = 4.0
	thought       = 1.5     // seconds of the longest pause at least
	longestOutput = 1 << 20 // bytes each way
)

// keystrokes tells the signs of a connection that somebody types into, by its shape and at least one reason to doubt the server.
func (c *connection) keystrokes(strange uint32) (signs uint32) {
	if c.App != "tls" || c.Duration() < keysLast || c.FwdPackets < keysPackets || c.RevPackets < keysPackets ||
		c.FwdPayload > longestOutput || c.RevPayload > longestOutput ||
		c.FwdLenMean > smallAnswer || c.RevLenMean > smallAnswer || min(c.FwdLenMean, c.RevLenMean) > smallPacket ||
		c.IATMean < fastest || c.IATMean > slowest || c.IATMax < thought || c.IATStd < c.IATMean {
		return 0
	}
	if c.signs&nameless != 0 {
		signs |= keysUnnamed
	}
	if c.signs&selfSigned != 0 {
		signs |= keysSelfSigned
	}
	if c.signs&noProtocols != 0 {
		signs |= keysNoProtocols
	}
	if !usualPort(c.DstPort) {
		signs |= keysOddPort
	}
	if strange&lonely != 0 {
		signs |= keysStranger
	}
	if signs&(keysUnnamed|keysSelfSigned|keysStranger) == 0 {
		return 0
	}
	if c.FwdPayload > c.RevPayload {
		signs |= keysBackwards
	}
	return signs | keysShape
}

// usualPort reports whether a port is one where TLS is to be expected.
func usualPort(port uint16) bool {
	switch port {
	case 443, 465, 563, 587, 636, 853, 989, 990, 993, 995, 1883, 3269, 3389, 5061, 5222, 5223, 5228, 5269, 5671, 6514, 6697, 8443, 8883, 9443:
		return true
	}
	return false
}
