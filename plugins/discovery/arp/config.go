package arp

import (
	"github.com/picketwatch/picket/plugins/internal/iprange"
	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets      []string        `json:"targets" format:"cidr" doc:"Ranges to report, in CIDR form; an empty list means the networks that the machine is in. Trigger needs it."`
	Interfaces   Interfaces      `json:"interfaces" doc:"Which interfaces are reported."`
	Trigger      bool            `json:"trigger" default:"false" doc:"First make the kernel ask for every IPv4 address of the targets, by one UDP datagram to its discard port."`
	Rate         int             `json:"rate" default:"200" min:"1" max:"5000" doc:"Datagrams per second that trigger sends, at most."`
	Wait         config.Duration `json:"wait" default:"2s" min:"0s" max:"30s" doc:"How long trigger waits for the answers before the table is read."`
	MaxAddresses int             `json:"max_addresses" default:"4096" min:"1" max:"65536" doc:"Largest number of addresses for trigger; a larger range is refused."`
}

// Interfaces chooses by name; * stands for any run of characters.
type Interfaces struct {
	Include []string `json:"include" doc:"Patterns of interface names to report; an empty list means all."`
	Exclude []string `json:"exclude" doc:"Patterns of interface names to leave out."`
}

func (i Interfaces) allows(name string) bool { return wildcard.Allows(name, i.Include, i.Exclude) }

func (c *Config) validate() error {
	targets, err := iprange.Parse("targets", c.Targets)
	if err != nil {
		return err
	}
	if c.Trigger && len(iprange.Family(targets, "ip4")) == 0 {
		return sdk.Errorf(sdk.InvalidConfig, "targets: trigger needs the IPv4 ranges to send to, for example 192.0.2.0/24")
	}
	return nil
}
