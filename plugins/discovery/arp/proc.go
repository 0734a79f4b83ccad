package arp

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Flags of an entry in /proc/net/arp (ATF_* in linux/if_arp.h).
const (
	flagComplete  = 0x02
	flagPermanent = 0x04
)

// parseProc reads the text of /proc/net/arp: a heading, then address, hardware type, flags, hardware address, mask and
// device. The table does not say how fresh an entry is, so a complete one counts as stale. Lines that cannot be read
// are passed over and the first of them is reported at the end.
func parseProc(r io.Reader) ([]neighbour, error) {
	lines := bufio.NewScanner(r)
	lines.Scan() // the heading
	var out []neighbour
	var first error
	for lines.Scan() {
		n, err := parseProcLine(lines.Text())
		if err != nil && first == nil {
			first = fmt.Errorf("neighbour table: line %q: %w", lines.Text(), err)
		}
		if err == nil {
			out = append(out, n)
		}
	}
	if err := lines.Err(); err != nil {
		return out, fmt.Errorf("neighbour table: %w", err)
	}
	return out, first
}

func parseProcLine(line string) (neighbour, error) {
	f := strings.Fields(line)
	if len(f) != 6 {
		return neighbour{}, fmt.Errorf("it has %d columns, not 6", len(f))
	}
	addr, err := netip.ParseAddr(f[0])
	if err != nil {
		return neighbour{}, err
	}
	flags, err := strconv.ParseUint(strings.TrimPrefix(f[2], "0x"), 16, 16)
	if err != nil {
		return neighbour{}, fmt.Errorf("flags: %w", err)
	}
	mac, err := net.ParseMAC(f[3])
	if err != nil {
		return neighbour{}, err
	}
	n := neighbour{addr: addr, mac: mac.String(), iface: f[5], state: stateIncomplete}
	switch {
	case flags&flagPermanent != 0:
		n.state = statePermanent
	case flags&flagComplete != 0:
		n.state = stateStale
	}
	return n, nil
}
