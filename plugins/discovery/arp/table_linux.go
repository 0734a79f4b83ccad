package arp

import (
	"errors"
	"net"
	"syscall"

	"github.com/picketwatch/picket/sdk"
)

// readTable asks the kernel over netlink, which knows IPv6 and how fresh each entry is. Where netlink is closed (some
// containers) /proc/net/arp still tells the IPv4 half; the host opens it, in whose network it is read.
func readTable(host sdk.Host) ([]neighbour, error) {
	reply, netlinkErr := syscall.NetlinkRIB(syscall.RTM_GETNEIGH, syscall.AF_UNSPEC)
	if netlinkErr == nil {
		rows, err := parseNetlink(reply)
		return named(rows), err
	}
	table, procErr := host.Open("/proc/net/arp")
	if procErr != nil {
		return nil, sdk.Errorf(sdk.Unsupported, "read the neighbour table: %w", errors.Join(netlinkErr, procErr))
	}
	defer table.Close()
	return parseProc(table)
}

// named gives the rows the names of their interfaces. One that vanished meanwhile leaves its rows without.
func named(rows []row) []neighbour {
	names := map[int]string{}
	if interfaces, err := net.Interfaces(); err == nil {
		for _, i := range interfaces {
			names[i.Index] = i.Name
		}
	}
	out := make([]neighbour, len(rows))
	for i, r := range rows {
		r.iface = names[r.ifindex]
		out[i] = r.neighbour
	}
	return out
}
