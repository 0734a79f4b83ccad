package snmp

import (
	"slices"

	"github.com/picketwatch/picket/plugins/internal/snmp"
	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Targets       []string        `json:"targets" required:"true" min:"1" max:"500" doc:"Devices to ask: an address or a name, with :port where it is not 161."`
	Access        snmp.Access     `json:"access" doc:"What opens the devices. Devices that another community or user opens belong to an instance of their own."`
	Sections      []string        `json:"sections" default:"system,interfaces,processor,memory,storage,sensors,battery,printer" min:"1" enum:"system,interfaces,processor,memory,storage,sensors,battery,printer" doc:"What to measure."`
	Interfaces    Interfaces      `json:"interfaces" doc:"Which interfaces are measured."`
	MaxInterfaces int             `json:"max_interfaces" default:"2000" min:"1" max:"20000" doc:"How many interfaces of one device are measured; those beyond are left out, which is logged."`
	Timeout       config.Duration `json:"timeout" default:"2s" min:"100ms" max:"30s" doc:"How long to wait for one answer."`
	Retries       int             `json:"retries" default:"2" min:"0" max:"5" doc:"Further tries of a question that got no answer."`
	Deadline      config.Duration `json:"deadline" default:"45s" min:"1s" max:"10m" doc:"How long one device may take in all; what was read until then counts."`
	Concurrency   int             `json:"concurrency" default:"16" min:"1" max:"128" doc:"How many devices are asked at the same time."`
}

// Interfaces chooses by name; * stands for any run of characters.
type Interfaces struct {
	Include []string `json:"include" doc:"Patterns of interface names to measure; an empty list means all."`
	Exclude []string `json:"exclude" default:"lo,lo0,Loopback*,Null*" doc:"Patterns of interface names to leave out."`
}

func (i Interfaces) allows(name string) bool { return wildcard.Allows(name, i.Include, i.Exclude) }

// target is one device.
type target struct{ label, address string }

func (c *Config) targets() ([]target, error) {
	out := make([]target, len(c.Targets))
	for i, text := range c.Targets {
		address, err := snmp.Address(text)
		if err != nil {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %w", i, err)
		}
		if slices.ContainsFunc(out[:i], func(t target) bool { return t.address == address }) {
			return nil, sdk.Errorf(sdk.InvalidConfig, "targets[%d]: %s is there twice", i, text)
		}
		out[i] = target{text, address}
	}
	return out, nil
}

func (c *Config) validate() error {
	if err := c.Access.Validate(); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "access.%w", err)
	}
	_, err := c.targets()
	return err
}

func (c *Config) wants(section string) bool { return slices.Contains(c.Sections, section) }
