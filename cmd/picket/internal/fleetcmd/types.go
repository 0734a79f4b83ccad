package fleetcmd

import (
	"maps"
	"slices"
	"strings"
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
		ID, Version, Because string
		Size                 int64
	}
	Permissions struct{ Added, Kept []permission }
	Changes     []string
	Conflicts   []string
}

type permission struct {
	Cap, Reason string
	Args        map[string][]string
}

func (p permission) String() string {
	text := p.Cap
	for _, name := range slices.Sorted(maps.Keys(p.Args)) {
		text += " " + name + "=" + strings.Join(p.Args[name], ",")
	}
	return text
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
