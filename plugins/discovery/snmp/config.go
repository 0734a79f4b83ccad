package snmp

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" required:"true" min:"1" format:"cidr" doc:"Ranges to ask, in CIDR form, for example 192.0.2.0/24."`
	Access       snmp.Access     `json:"access" doc:"What opens the devices. Devices that another community or user opens belong to an instance of their own."`
	Port         int             `json:"port" default:"161" min:"1" max:"65535" doc:"Port that the devices answer on."`
	Neighbours   bool            `json:"neighbours" default:"true" doc:"Report also who the devices say is around them: addresses in their ARP tables, within the scope."`
	Timeout      config.Duration `json:"timeout" default:"1s" min:"100ms" max:"30s" doc:"How long to wait for one answer."`
	Retries      int             `json:"retries" default:"1" min:"0" max:"5" doc:"Further tries of a question that got no answer."`
	Deadline     config.Duration `json:"deadline" default:"2m" min:"1s" max:"30m" doc:"How long one device may take in all; what it said until then counts."`
	Concurrency  int             `json:"concurrency" default:"32" min:"1" max:"256" doc:"How many addresses are asked at the same time."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses in one run; a larger range is refused."`
}

func (c *Config) validate() error {
	if err := c.Access.Validate(); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "access.%w", err)
	}
	_, err := iprange.Parse("targets", c.Targets)
	return err
}
