package fleetcmd

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// What the API tells, as far as it is printed for people. --json prints all of it.

type fleet struct {
	Plugins []struct {
		ID       string
		Versions []struct {
			Version string
			Nodes   []struct{ Name, State, Reason string }
		}
	}
}

type marketPage struct {
	Items []struct {
		ID, Version, Kind, Summary, Revoked, Yanked string
		Installed                                   *struct{ Version string }
	}
	Total      int
	DidYouMean string `json:"did_you_mean"`
}

type installPlan struct {
	Version, Node string
	Install       []struct {
		ID, Version, Because, Registry string
		Size                           int64
	}
	Permissions struct{ Added, Kept []permission }
	Config      json.RawMessage // as it is now
	Schema      json.RawMessage `json:"config_schema"`
	Changes     []string
	Conflicts   []string
}

type permission struct {
	Cap, Reason string
	Args        map[string][]string
}

// say is the permission in words: what it refers to in the configuration is there as it will be, or as the setting that
// somebody has yet to make.
func (p permission) say(config json.RawMessage) string {
	text := p.Cap
	for _, name := range slices.Sorted(maps.Keys(p.Args)) {
		values := []string{}
		for _, v := range p.Args[name] {
			values = append(values, inWords(name, v, config)...)
		}
		text += " " + name + "=" + strings.Join(values, ",")
	}
	return text
}

var reference = regexp.MustCompile(`\$\{config\.([^}]*)\}`)

func inWords(name, value string, config json.RawMessage) []string {
	if !reference.MatchString(value) {
		return []string{value}
	}
	full, err := sdk.ExpandPermissions([]sdk.Permission{{Args: map[string][]string{name: {value}}}}, config)
	if err == nil && len(full[0].Args[name]) > 0 {
		return full[0].Args[name]
	}
	return []string{reference.ReplaceAllString(value, "(what you set as $1)")}
}

type installJob struct {
	Version, Node, State, Error string
	Undone                      []string
	Steps                       []struct {
		Name, State, Text string
		Done, Total       int64
	}
}

type updatePolicy struct {
	Auto, Group, Waiting string
	CooldownDays         int `json:"cooldown_days"`
}
