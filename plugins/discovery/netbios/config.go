package netbios

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" required:"true" format:"cidr" doc:"Ranges to ask, in CIDR form."`
	SMB          bool            `json:"smb" default:"true" doc:"Whether to ask for the names of file servers, too, at TCP port 445. Nobody logs on."`
	Rate         int             `json:"rate" default:"200" min:"1" max:"10000" doc:"Addresses asked per second, at most."`
	Wait         config.Duration `json:"wait" default:"1s" min:"100ms" max:"30s" doc:"How long to wait for the last answers."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses in one round; a larger range is refused."`
}

func (c *Config) validate() error {
	_, err := iprange.Parse("targets", c.Targets)
	return err
}
