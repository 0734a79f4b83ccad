package iprange

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/picketwatch/picket/sdk"
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

func TestPlan(t *testing.T) {
	for _, c := range []struct {
		what           string
		targets, scope []netip.Prefix
		want           []netip.Prefix
	}{
		{"no targets mean the scope", nil, prefixes("192.0.2.0/28"), prefixes("192.0.2.0/28")},
		{"target inside the scope", prefixes("192.0.2.8/29"), prefixes("192.0.2.0/24"), prefixes("192.0.2.8/29")},
		{"target wider than the scope is cut", prefixes("192.0.0.0/16"), prefixes("192.0.2.0/28"), prefixes("192.0.2.0/28")},
		{"target partly outside", prefixes("192.0.2.0/28", "198.51.100.0/28"), prefixes("192.0.2.0/24"), prefixes("192.0.2.0/28")},
		{"overlapping targets count once", prefixes("192.0.2.0/28", "192.0.2.4/30", "192.0.2.0/28"), prefixes("192.0.2.0/24"), prefixes("192.0.2.0/28")},
		{"an address with host bits is its network", prefixes("192.0.2.5/28"), prefixes("192.0.2.0/24"), prefixes("192.0.2.0/28")},
		{"both families", prefixes("192.0.2.1/32", "2001:db8::/125"), prefixes("192.0.2.0/24", "2001:db8::/64"), prefixes("192.0.2.1/32", "2001:db8::/125")},
	} {
		t.Run(c.what, func(t *testing.T) {
			got, err := Plan(c.targets, c.scope, 1024)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%v, %v; want %v", got, err, c.want)
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, c := range []struct {
		what           string
		targets, scope []netip.Prefix
		says           string
	}{
		{"an empty scope", prefixes("192.0.2.0/24"), nil, "the scope is empty"},
		{"nothing in common", prefixes("192.0.2.0/24"), prefixes("198.51.100.0/24"), "none of the targets [192.0.2.0/24] lies in the scope [198.51.100.0/24]"},
		{"too many", nil, prefixes("10.0.0.0/8"), "16777216 addresses and max_addresses is 1024"},
		{"too many together", nil, prefixes("192.0.2.0/23", "198.51.100.0/23", "203.0.113.0/32"), "1025 addresses"},
		{"more than an int holds", nil, prefixes("2001:db8::/32"), "79228162514264337593543950336 addresses"},
		{"everything", nil, prefixes("::/0"), "340282366920938463463374607431768211456 addresses"},
	} {
		t.Run(c.what, func(t *testing.T) {
			_, err := Plan(c.targets, c.scope, 1024)
			if sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, want %q", err, c.says)
			}
		})
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct{ prefix, want string }{
		{"192.0.2.0/29", "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5 192.0.2.6"},
		{"192.0.2.0/30", "192.0.2.1 192.0.2.2"},
		{"192.0.2.0/31", "192.0.2.0 192.0.2.1"},
		{"192.0.2.7/32", "192.0.2.7"},
		{"255.255.255.252/30", "255.255.255.253 255.255.255.254"},
		{"2001:db8::/126", "2001:db8::1 2001:db8::2 2001:db8::3"},
		{"2001:db8::/127", "2001:db8:: 2001:db8::1"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	} {
		var got []string
		for a := range Addresses(prefixes(c.prefix)) {
			got = append(got, a.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v", c.prefix, got)
		}
	}
}

func TestParse(t *testing.T) {
	if _, err := Parse("targets", []string{"192.0.2.0/24", "192.0.2.1"}); sdk.ClassOf(err) != sdk.InvalidConfig || !strings.Contains(err.Error(), `targets[1]: "192.0.2.1"`) {
		t.Errorf("error %v", err)
	}
}

// Whatever the ranges, no address lies outside both, and none comes twice.
func FuzzPlanStaysInside(f *testing.F) {
	f.Add("192.0.2.0/25", "192.0.2.0/24", "192.0.2.64/26")
	f.Add("2001:db8::/120", "::/0", "10.0.0.0/24")
	f.Fuzz(func(t *testing.T, a, b, scopeText string) {
		var targets []netip.Prefix
		for _, text := range []string{a, b} {
			if p, err := netip.ParsePrefix(text); err == nil {
				targets = append(targets, p)
			}
		}
		scope, err := netip.ParsePrefix(scopeText)
		if err != nil {
			return
		}
		ranges, err := Plan(targets, []netip.Prefix{scope}, 512)
		if err != nil {
			return
		}
		seen := map[netip.Addr]bool{}
		for addr := range Addresses(ranges) {
			inTargets := len(targets) == 0 || slices.ContainsFunc(targets, func(p netip.Prefix) bool { return p.Contains(addr) })
			if !scope.Contains(addr) || !inTargets || seen[addr] {
				t.Fatalf("%s: targets %v, scope %v", addr, targets, scope)
			}
			seen[addr] = true
		}
	})
}
