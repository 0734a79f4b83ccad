// Package iprange turns the ranges that an operator stated and the scope that a discovery was given into the addresses
// that may be touched: what goes in are prefixes, what comes out are prefixes that lie in both, and their addresses.
package iprange

import (
	"iter"
	"math/big"
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/sdk"
)

// Plan returns what lies both in the targets and in the scope, without overlaps. Without targets the whole scope is
// meant. It refuses to touch nothing and to touch too much: both are mistakes that should be seen.
func Plan(targets, scope []netip.Prefix, maxAddresses int) ([]netip.Prefix, error) {
	if len(scope) == 0 {
		return nil, sdk.Errorf(sdk.InvalidConfig, "the scope is empty: state the range of addresses to ask, for example 192.0.2.0/24")
	}
	if len(targets) == 0 {
		targets = scope
	}
	var ranges []netip.Prefix
	for _, t := range targets {
		for _, s := range scope {
			if both, ok := intersect(t.Masked(), s.Masked()); ok {
				ranges = append(ranges, both)
			}
		}
	}
	if len(ranges) == 0 {
		return nil, sdk.Errorf(sdk.InvalidConfig, "none of the targets %v lies in the scope %v", targets, scope)
	}
	ranges = withoutOverlaps(ranges)
	return ranges, checkSize(ranges, maxAddresses)
}

// intersect works on prefixes, of which one contains the other or they share nothing.
func intersect(a, b netip.Prefix) (netip.Prefix, bool) {
	switch {
	case !a.Overlaps(b):
		return netip.Prefix{}, false
	case a.Bits() >= b.Bits():
		return a, true
	}
	return b, true
}

func withoutOverlaps(ranges []netip.Prefix) []netip.Prefix {
	slices.SortFunc(ranges, func(a, b netip.Prefix) int {
		if a.Bits() != b.Bits() {
			return a.Bits() - b.Bits()
		}
		return a.Addr().Compare(b.Addr())
	})
	var out []netip.Prefix
	for _, r := range ranges {
		if !slices.ContainsFunc(out, func(o netip.Prefix) bool { return o.Overlaps(r) }) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return a.Addr().Compare(b.Addr()) })
	return out
}

// checkSize counts with big numbers, because a /64 has more addresses than an int.
func checkSize(ranges []netip.Prefix, maxAddresses int) error {
	total, largest := new(big.Int), ranges[0]
	for _, r := range ranges {
		total.Add(total, size(r))
		if size(r).Cmp(size(largest)) > 0 {
			largest = r
		}
	}
	if total.Cmp(big.NewInt(int64(maxAddresses))) <= 0 {
		return nil
	}
	return sdk.Errorf(sdk.InvalidConfig,
		"the range has %s addresses and max_addresses is %d: state smaller targets (the largest is %s), or raise max_addresses",
		total, maxAddresses, largest)
}

func size(p netip.Prefix) *big.Int {
	return new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
}

// Family returns the ranges of one family, "ip4" or "ip6".
func Family(ranges []netip.Prefix, family string) []netip.Prefix {
	var out []netip.Prefix
	for _, r := range ranges {
		if r.Addr().Is4() == (family == "ip4") {
			out = append(out, r)
		}
	}
	return out
}

// Parse reads ranges such as "192.0.2.0/24"; an error names the place in the list.
func Parse(field string, ranges []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, len(ranges))
	for i, text := range ranges {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "%s[%d]: %q is not a range such as 192.0.2.0/24 or 2001:db8::/120", field, i, text)
		}
		out[i] = p
	}
	return out, nil
}

// Addresses gives each address that a device may have. The first and last address of an IPv4 subnet name the subnet and
// everyone in it, so they are left out where the prefix has room for them; in IPv6 the first is the routers' anycast.
func Addresses(ranges []netip.Prefix) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for _, r := range ranges {
			for a := r.Addr(); r.Contains(a); a = a.Next() {
				if !reserved(r, a) && !yield(a) {
					return
				}
			}
		}
	}
}

func reserved(p netip.Prefix, a netip.Addr) bool {
	if p.Addr().BitLen()-p.Bits() < 2 { // /31, /32, /127, /128: every address is a host
		return false
	}
	if a.Is4() && !p.Contains(a.Next()) {
		return true
	}
	return a == p.Addr()
}
