package ssdp

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" required:"true" format:"cidr" doc:"Networks of this machine to search, in CIDR form."`
	Descriptions bool            `json:"descriptions" default:"true" doc:"Whether to read the descriptions that devices offer, for their names, makers and models."`
	Wait         config.Duration `json:"wait" default:"3s" min:"100ms" max:"30s" doc:"How long to wait for answers; devices are asked to spread theirs over a second less."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses in the networks; a larger range is refused."`
}

func (c *Config) validate() error {
	_, err := iprange.Parse("targets", c.Targets)
	return err
}
