package ping

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" required:"true" format:"cidr" doc:"Ranges to ask, in CIDR form."`
	Rate         int             `json:"rate" default:"200" min:"1" max:"10000" doc:"Echo requests per second, at most."`
	Concurrency  int             `json:"concurrency" default:"128" min:"1" max:"1024" doc:"Addresses that are waited for at the same time, at most."`
	Retries      int             `json:"retries" default:"1" min:"0" max:"5" doc:"Further requests to an address that did not answer."`
	Timeout      config.Duration `json:"timeout" default:"1s" min:"10ms" max:"30s" doc:"How long to wait for each answer."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses in one sweep; a larger range is refused."`
}

func (c *Config) validate() error {
	_, err := iprange.Parse("targets", c.Targets)
	return err
}
