package syslog

import (
	"net/netip"
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	Address        string          `json:"address" default:"0.0.0.0" doc:"Address to listen on; :: hears IPv4 and IPv6."`
	Port           int             `json:"port" default:"514" min:"1" max:"65535" doc:"Port to listen on."`
	Transports     []string        `json:"transports" default:"udp,tcp" min:"1" enum:"udp,tcp" doc:"How messages may come."`
	By             []string        `json:"by" enum:"host,app" doc:"Count the messages also by the host or the application that they name."`
	MaxNames       int             `json:"max_names" default:"500" min:"1" max:"10000" doc:"How many pairs of host and application are told apart; the messages of further ones count under the name other."`
	MaxMessage     int             `json:"max_message" default:"8192" min:"480" max:"65536" doc:"Longest message in bytes; a longer one is dropped and counted."`
	MaxConnections int             `json:"max_connections" default:"64" min:"1" max:"4096" doc:"How many senders may be connected over TCP at a time."`
	IdleTimeout    config.Duration `json:"idle_timeout" default:"10m" min:"1s" max:"24h" doc:"How long a TCP connection may stay silent."`
	Push           config.Duration `json:"push" default:"1s" min:"100ms" max:"1m" doc:"Shortest time between two readings of counters that change."`
}

func (c *Config) validate() error {
	if _, err := netip.ParseAddr(c.Address); err != nil {
		return sdk.Errorf(sdk.InvalidConfig, "address: %q is not an address such as 0.0.0.0 or ::", c.Address)
	}
	for field, list := range map[string][]string{"transports": c.Transports, "by": c.By} {
		for i, v := range list {
			if slices.Contains(list[:i], v) {
				return sdk.Errorf(sdk.InvalidConfig, "%s[%d]: %s is there twice", field, i, v)
			}
		}
	}
	return nil
}
