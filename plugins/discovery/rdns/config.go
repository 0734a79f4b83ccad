package rdns

import (
	"net"
	"net/netip"

	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Server       string          `json:"server" required:"true" format:"hostport" doc:"The DNS server to ask, for example 192.0.2.53:53."`
	Targets      []string        `json:"targets" format:"cidr" doc:"Ranges to ask for, in CIDR form; an empty list means the whole scope."`
	Rate         int             `json:"rate" default:"50" min:"1" max:"5000" doc:"Questions per second, at most."`
	Concurrency  int             `json:"concurrency" default:"8" min:"1" max:"128" doc:"Questions that are waited for at the same time, at most."`
	Retries      int             `json:"retries" default:"1" min:"0" max:"5" doc:"Further tries of a question that got no answer."`
	Timeout      config.Duration `json:"timeout" default:"2s" min:"50ms" max:"30s" doc:"How long to wait for each answer."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses in one run; a larger range is refused."`
}

func (c *Config) validate() error {
	host, _, err := net.SplitHostPort(c.Server)
	if err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "server: %w", err)
	}
	if a, err := netip.ParseAddr(host); err == nil && (a.IsUnspecified() || a.IsMulticast()) {
		return sdk.Errorf(sdk.InvalidConfig, "server: %s is not the address of one server", host)
	}
	_, err = iprange.Parse("targets", c.Targets)
	return err
}
