package block

import (
	"net/netip"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	URL            string          `json:"url" required:"true" format:"url" doc:"Address of the firewall's interface, for example https://firewall.example.org."`
	Alias          string          `json:"alias" required:"true" max:"31" doc:"The alias of addresses that the firewall's own rule blocks. It must exist, with the type external."`
	Key            string          `json:"key" secret:"true" doc:"API key of a user that may change aliases and nothing else."`
	Secret         string          `json:"secret" secret:"true" doc:"Secret of the key."`
	Never          []string        `json:"never" format:"cidr" max:"1000" doc:"Ranges that are never blocked, besides private, local and group addresses: your own public networks, your suppliers."`
	MinSeverity    string          `json:"min_severity" default:"high" enum:"info,low,medium,high,critical" doc:"Alerts below this severity block nothing."`
	MaxBlocked     int             `json:"max_blocked" default:"200" min:"1" max:"10000" doc:"When the alias has so many addresses nothing more is blocked: something is wrong, or somebody wants you to block the world."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for a firewall with a private authority."`
	Timeout        config.Duration `json:"timeout" default:"15s" min:"100ms" max:"2m" doc:"How long one change may take."`
}

func (c *Config) validate() error {
	if _, err := rest.Base("url", c.URL); err != nil {
		return err
	}
	if c.Alias == "" || strings.Trim(c.Alias, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		return sdk.Errorf(sdk.InvalidConfig, "alias: %q is not a name of letters, digits and underscores", c.Alias)
	}
	if strings.ContainsAny(c.Key+c.Secret, "\r\n:") {
		return sdk.Errorf(sdk.InvalidConfig, "key, secret: they have characters that a login cannot carry")
	}
	if _, err := iprange.Parse("never", c.Never); err != nil {
		return err
	}
	_, err := trust.Config("", c.CACertificates)
	return err
}

// special are the ranges that stand for no single machine outside, or for networks of one's own. netip knows the usual
// ones; these it does not call private.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// guard says what must never be blocked.
type guard struct{ never []netip.Prefix }

func newGuard(ranges []string) (guard, error) {
	never, err := iprange.Parse("never", ranges)
	return guard{never}, err
}

// allows reports whether an address may be blocked, and if not, why.
func (g guard) allows(a netip.Addr) (bool, string) {
	a = a.Unmap()
	switch {
	case !a.IsValid() || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.IsLinkLocalUnicast():
		return false, "is not the address of one machine outside"
	case a.IsPrivate():
		return false, "is private"
	}
	for _, p := range special {
		if p.Contains(a) {
			return false, "lies in " + p.String() + ", which is reserved"
		}
	}
	for _, p := range g.never {
		if p.Contains(a) {
			return false, "lies in " + p.String() + ", which is never blocked"
		}
	}
	return true, ""
}
