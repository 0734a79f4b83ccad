package service

import (
	"strings"

	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
)

// Config is what an operator sets.
type Config struct {
	Include []string `json:"include" doc:"Patterns of services to tell of; an empty list means all."`
	Exclude []string `json:"exclude" default:"user@*,user-runtime-dir@*,session-*,run-*,systemd-fsck@*,systemd-backlight@*" doc:"Patterns of services to leave out."`
	Watched []string `json:"watched" max:"100" doc:"Services that must run, such as nginx or nginx.service: they are told of even when nobody knows them."`
}

const (
	maxUnits = 500
	maxName  = 256
)

func (c *Config) validate() error {
	seen := map[string]bool{}
	for i, name := range c.Watched {
		switch {
		case name == "" || len(name) > maxName || strings.ContainsAny(name, " /\x00"):
			return sdk.Errorf(sdk.InvalidConfig, "watched[%d]: %q is not the name of a service", i, name)
		case seen[unitName(name)]:
			return sdk.Errorf(sdk.InvalidConfig, "watched[%d]: %s is there twice", i, name)
		}
		seen[unitName(name)] = true
	}
	return nil
}

func (c *Config) wants(name string) bool { return wildcard.Allows(name, c.Include, c.Exclude) }

func unitName(name string) string {
	if strings.HasSuffix(name, ".service") {
		return name
	}
	return name + ".service"
}
