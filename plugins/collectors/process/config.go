package process

import (
	"strings"

	"github.com/picketwatch/picket/plugins/internal/wildcard"
	"github.com/picketwatch/picket/sdk"
)

// Config is what an operator sets.
type Config struct {
	Top     int      `json:"top" default:"10" min:"0" max:"50" doc:"How many processes to list that use the processors most, and how many that use the memory most."`
	Watched []string `json:"watched" max:"100" doc:"Programs that must run: patterns of their names, such as nginx or postgres*; one with a space is compared with the whole command line."`
}

const maxPattern = 200

func (c *Config) validate() error {
	seen := map[string]bool{}
	for i, p := range c.Watched {
		switch {
		case strings.TrimSpace(p) != p || p == "":
			return sdk.Errorf(sdk.InvalidConfig, "watched[%d]: a pattern neither is empty nor begins or ends with a space", i)
		case len(p) > maxPattern:
			return sdk.Errorf(sdk.InvalidConfig, "watched[%d]: a pattern has at most %d characters", i, maxPattern)
		case seen[p]:
			return sdk.Errorf(sdk.InvalidConfig, "watched[%d]: %s is there twice", i, p)
		}
		seen[p] = true
	}
	return nil
}

// byCommand reports whether a pattern is compared with the command line instead of the name.
func byCommand(pattern string) bool { return strings.Contains(pattern, " ") }

// matches says which of the patterns fit a program.
func (c *Config) matches(name, command string) []int {
	var out []int
	for i, p := range c.Watched {
		of := name
		if byCommand(p) {
			of = command
		}
		if of != "" && wildcard.Match(p, of) {
			out = append(out, i)
		}
	}
	return out
}
