package ftp

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// Endpoint is where a data connection goes to; Passive says that it is the server's.
type Endpoint struct {
	Addr    netip.AddrPort
	Passive bool
}

// dataEndpoint is the address that a command or its answer names; not valid when there is none.
func dataEndpoint(c *Command, f *app.Flow) Endpoint {
	switch {
	case c.Code/100 != 2:
	case c.Name == "PORT":
		return Endpoint{Addr: six(c.Arg)}
	case c.Name == "EPRT":
		return Endpoint{Addr: extended(c.Arg, netip.Addr{})}
	case c.Name == "PASV" && c.Code == 227:
		if i := strings.IndexAny(c.Text, "0123456789"); i >= 0 {
			text := c.Text[i:]
			if end := strings.IndexFunc(text, func(r rune) bool { return r != ',' && (r < '0' || r > '9') }); end >= 0 {
				text = text[:end]
			}
			return Endpoint{Addr: six(text), Passive: true}
		}
	case c.Name == "EPSV" && c.Code == 229:
		_, text, _ := strings.Cut(c.Text, "(")
		text, _, _ = strings.Cut(text, ")")
		return Endpoint{Addr: extended(text, f.Server.Addr()), Passive: true}
	}
	return Endpoint{}
}

// six reads h1,h2,h3,h4,p1,p2.
func six(text string) netip.AddrPort {
	var n [6]byte
	for i := range n {
		part, rest, more := strings.Cut(text, ",")
		v, err := strconv.ParseUint(strings.TrimSpace(part), 10, 8)
		if err != nil || more != (i < len(n)-1) {
			return netip.AddrPort{}
		}
		n[i], text = byte(v), rest
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(n[:4])), uint16(n[4])<<8|uint16(n[5]))
}

// extended reads |family|address|port|, where the address may be left out for that of the server.
func extended(text string, server netip.Addr) netip.AddrPort {
	if len(text) < 4 {
		return netip.AddrPort{}
	}
	parts := strings.SplitN(text, text[:1], 6)
	if len(parts) != 5 {
		return netip.AddrPort{}
	}
	addr := server
	if parts[2] != "" {
		var err error
		if addr, err = netip.ParseAddr(parts[2]); err != nil {
			return netip.AddrPort{}
		}
	}
	port, err := strconv.ParseUint(parts[3], 10, 16)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}

func code(n int) string { return strconv.Itoa(n) }
