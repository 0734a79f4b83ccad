package policy

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

func (c *Ceiling) setDenied(list []string) error {
	c.denyNets, c.denyHosts = nil, nil
	for _, s := range list {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			c.denyNets = append(c.denyNets, prefix.Masked())
			continue
		}
		if addr, err := netip.ParseAddr(s); err == nil {
			c.denyNets = append(c.denyNets, netip.PrefixFrom(addr, addr.BitLen()))
			continue
		}
		if strings.ContainsAny(s, "/:* ") || !strings.Contains(s, ".") {
			return fmt.Errorf("deny_dial: %q is not an address, a CIDR or a host name", s)
		}
		c.denyHosts = append(c.denyHosts, strings.ToLower(strings.TrimSuffix(s, ".")))
	}
	return nil
}

// deniedDestination reports whether a value of "to" can reach a denied address. A range counts when any part of it does.
func (c *Ceiling) deniedDestination(to string) (what string, denied bool) {
	prefix, host, ok := destination(to)
	if !ok {
		return "", false
	}
	for _, d := range c.denyNets {
		if prefix.IsValid() && d.Overlaps(prefix) {
			return d.String(), true
		}
	}
	for _, d := range c.denyHosts {
		suffix, wild := strings.CutPrefix(host, "*")
		if host != "" && (host == d || wild && strings.HasSuffix(d, suffix)) {
			return d, true
		}
	}
	return "", false
}

// destination splits a valid value of "to" into the address range or the host that it names.
func destination(to string) (netip.Prefix, string, bool) {
	if strings.Contains(to, "://") {
		u, err := url.Parse(to)
		if err != nil {
			return netip.Prefix{}, "", false
		}
		to = u.Hostname()
	}
	if p, err := netip.ParsePrefix(to); err == nil {
		return unmap(p), "", true
	}
	if a, err := netip.ParseAddr(to); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), "", true
	}
	if ap, err := netip.ParseAddrPort(to); err == nil {
		a := ap.Addr().Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), "", true
	}
	host := to
	if i := strings.LastIndexByte(to, ':'); i >= 0 {
		host = strings.Trim(to[:i], "[]")
		if p, err := netip.ParsePrefix(host); err == nil {
			return unmap(p), "", true
		}
	}
	return netip.Prefix{}, strings.ToLower(strings.TrimSuffix(host, ".")), host != ""
}

// unmap lets ::ffff:169.254.0.0/112 be seen for what it is.
func unmap(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
	}
	return p.Masked()
}
