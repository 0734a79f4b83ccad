package encrypted

import "github.com/picketwatch/picket/sdk"

// Signs of a port that carries another protocol than its own.
const (
	shellOnPort  uint32 = 1 << iota // SSH where the web, mail or names are
	sealedOnPort                    // TLS where what is said is in the clear by nature
	unknownOnWeb                    // on the port of HTTPS something that no parser knows
)

var portWords = []string{"SSH", "TLS, on a port of what is said in the clear,", "what is neither TLS nor HTTP"}

// port tells what is on the wrong one. A connection whose beginning was not seen shows nothing.
func (m *memory) port(c *connection) uint32 {
	if c.Proto != sdk.ProtoTCP || c.FwdFirstFlags&sdk.FlagSYN == 0 || c.RevFlags&sdk.FlagSYN == 0 {
		return 0
	}
	switch c.App {
	case "ssh":
		switch c.DstPort {
		case 25, 53, 80, 110, 143, 443, 853, 993, 995, 3128, 8080, 8443:
			return shellOnPort
		}
	case "tls":
		switch c.DstPort {
		case 443:
			m.sealed = min(m.sealed+1, enough)
		case 22, 23, 53, 69, 80, 123, 179:
			return sealedOnPort
		}
	case "":
		// In a capture whose packets are cut, nothing is known of anything.
		if c.DstPort == 443 && c.FwdPayload >= fewBytes && c.RevPayload >= fewBytes && m.sealed >= enough {
			return unknownOnWeb
		}
	}
	return 0
}

const (
	// enough connections of TLS must have been recognised before one that was not says something.
	enough = 5
	// fewBytes is what a side says at least that has said something.
	fewBytes = 64
)
