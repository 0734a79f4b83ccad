package mdns

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" required:"true" format:"cidr" doc:"Networks of this machine to ask, in CIDR form."`
	Wait         config.Duration `json:"wait" default:"1500ms" min:"100ms" max:"30s" doc:"How long to wait for the answers to each of up to three rounds of questions."`
	MaxAddresses int             `json:"max_addresses" default:"1024" min:"1" max:"65536" doc:"Largest number of addresses whose names are asked for; a larger range is refused."`
}

func (c *Config) validate() error {
	_, err := iprange.Parse("targets", c.Targets)
	return err
}
