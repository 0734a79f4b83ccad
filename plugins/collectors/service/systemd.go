//go:build !windows

package service

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
)

const (
	active   = "active"
	inactive = "inactive"
	failed   = "failed"
)

// states are those of the OpenTelemetry receiver for systemd.
var states = []string{active, "reloading", inactive, failed, "activating", "deactivating", "maintenance", "refreshing"}

// unit is a service as systemd, or its control group, says.
type unit struct {
	name     string
	state    string // "" when nobody knows more than that it is not active
	restarts float64
	counted  bool // restarts are known
	gone     bool // nobody knows it any more
}

// manager asks systemd where that is allowed, and looks at the control groups of services elsewhere.
type manager struct {
	bus
	groups string // the folder of control groups
	absent bool   // it was told that there is no systemd
	// was are the states that a service was seen in, as bits of states. Each that it has left is told as 0, or nobody would know.
	was map[string]uint8
}

func newManager() manager { return manager{groups: "/sys/fs/cgroup", was: map[string]uint8{}} }

// Collect asks once and hands over the state of each service.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	watched := make([]string, len(c.config.Watched))
	for i, name := range c.config.Watched {
		watched[i] = unitName(name)
	}
	units, asked, err := c.units(ctx, c.host, watched)
	if err != nil {
		return err
	}
	if !asked {
		found, ok := services(c.groups)
		if !ok {
			if !c.absent {
				c.absent = true
				c.host.Log().Info("there is no systemd on this machine, so there is nothing to tell of services")
			}
			return nil
		}
		units = found
	}
	units, left := c.chosen(units, watched)
	out := emitter{sink: sink, now: c.host.Now()}
	for _, u := range units {
		c.tell(u, asked, &out)
		if u.gone { // told once: whoever connects may be a service with a name of its own
			delete(c.was, u.name)
		}
	}
	if out.err == nil && left > 0 {
		return sdk.Errorf(sdk.Unsupported, "there are %d services more than the %d that are told of: choose with include and exclude", left, maxUnits)
	}
	return out.err
}

// chosen are the services to tell of: those that are wanted and are, or were, anything but inactive, and those watched.
func (c *Collector) chosen(units []unit, watched []string) (out []unit, left int) {
	there := map[string]bool{}
	for _, u := range units {
		there[u.name] = true
	}
	for _, name := range watched {
		if !there[name] {
			units = append(units, unit{name: name, state: inactive})
			there[name] = true
		}
	}
	for name := range c.was { // it was there, and is not: systemd forgets what is inactive and needed by nobody
		if !there[name] {
			units = append(units, unit{name: name, state: inactive, gone: true})
		}
	}
	for _, u := range units {
		isWatched := slices.Contains(watched, u.name)
		if isWatched || c.config.wants(u.name) && (u.state != inactive || c.was[u.name] != 0) {
			out = append(out, u)
		}
	}
	slices.SortFunc(out, func(a, b unit) int { // those watched come first
		if x, y := slices.Contains(watched, a.name), slices.Contains(watched, b.name); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a.name, b.name)
	})
	if len(out) > maxUnits {
		left = len(out) - maxUnits
		out = out[:maxUnits]
	}
	return out, left
}

// tell gives a service's states: whether it is active and, where systemd was asked, whether it has failed, the state that it is in,
// and those that it was in before.
func (c *Collector) tell(u unit, asked bool, out *emitter) {
	if len(c.was) < 2*maxUnits || c.was[u.name] != 0 {
		if i := slices.Index(states, u.state); i >= 0 {
			c.was[u.name] |= 1 << i
		}
	}
	for i, state := range states {
		is := u.state == state
		always := state == active || state == failed && asked
		if !asked && state != active { // without systemd nobody knows why it is not active
			continue
		}
		if !is && !always && c.was[u.name]&(1<<i) == 0 {
			continue
		}
		value := 0.0
		if is {
			value = 1
		}
		out.emit(sdk.Gauge, "systemd.unit.state", "", value, map[string]string{"systemd.unit.name": u.name, "systemd.unit.active_state": state})
	}
	if u.counted {
		out.emit(sdk.Counter, "systemd.service.restarts", "{restart}", u.restarts, map[string]string{"systemd.unit.name": u.name})
	}
}

// deadline of one answer of systemd.
const patience = 5 * time.Second
