package catalogue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	agentSilence = 90 * time.Second // after which an agent is waited for no longer
	mostRestarts = 2                // of a new instance, after which it is given up
)

// ready waits until the plugin works on its node, or on every agent that is there.
func (j *installation) ready(ctx context.Context) error {
	late := time.NewTimer(j.c.readyWithin)
	defer late.Stop()
	j.step(ctx, stepReady, StepRunning, "")
	pause := 200 * time.Millisecond
	if !j.onServer() {
		pause = time.Second
	}
	for last := ""; ; {
		done, total, waiting, err := j.look(ctx)
		if err != nil {
			return err
		}
		s := j.find(stepReady)
		s.Done, s.Total = int64(done), int64(total)
		if done == total {
			text := ""
			if total == 0 {
				text = "no agent is there to run it; it starts when one comes"
			}
			s.Text = text
			j.step(ctx, stepReady, StepDone, "")
			return nil
		}
		if waiting != last {
			j.step(ctx, stepReady, StepRunning, waiting)
			last = waiting
		}
		select {
		case <-time.After(pause):
		case <-late.C:
			return fmt.Errorf("it was not ready within %s: %s", j.c.readyWithin, waiting)
		case <-ctx.Done():
			if j.c.life.Err() != nil {
				return errors.New(interruptedReason)
			}
			return ctx.Err()
		}
	}
}

// look counts the nodes on which it works. The error says where it never will.
func (j *installation) look(ctx context.Context) (done, total int, waiting string, err error) {
	nodes, err := j.nodes(ctx)
	if err != nil {
		return 0, 0, "", err
	}
	for _, i := range nodes {
		total++
		switch ok, no := works(i, j.row.Version, j.was[i.Node.ID]); {
		case no != "":
			return 0, 0, "", fmt.Errorf("%s: %s", i.Node.Name, no)
		case ok:
			done++
		default:
			waiting = strings.TrimSuffix(fmt.Sprintf("%s: %s: %s", i.Node.Name, i.State, i.Reason), ": ")
		}
	}
	return done, total, waiting, nil
}

// nodes are the instances that are waited for: the server's, or those of the agents that can be reached.
func (j *installation) nodes(ctx context.Context) ([]Instance, error) {
	rows, err := j.c.rows(ctx)
	if err != nil {
		return nil, err
	}
	if j.onServer() {
		var mine []Instance
		for _, i := range j.c.onNode(ServerNode, onServer(rows), j.c.cfg.Host.Instances()) {
			if i.Instance == j.row.Instance {
				mine = append(mine, i)
			}
		}
		if len(mine) == 0 {
			return nil, fmt.Errorf("somebody disabled %s meanwhile", j.row.Plugin)
		}
		return mine, nil
	}
	agents, err := j.c.agents(ctx)
	if err != nil {
		return nil, err
	}
	var out []Instance
	for _, a := range agents {
		if a.Disabled || j.c.cfg.Now().Sub(a.LastSeen) > agentSilence {
			continue
		}
		for _, i := range j.c.onAgent(a, rows) {
			if i.Instance != j.row.Instance {
				continue
			}
			if appliedConfig(a) < a.ConfigVersion { // what it reports is of before
				i.State, i.Reason, i.Upgrade = pluginhost.Staged, "it has not taken its configuration yet", nil
			}
			out = append(out, i)
		}
	}
	return out, nil
}

// appliedConfig is the version of the configuration that an agent said it works by.
func appliedConfig(a store.Agent) int64 {
	var said struct {
		Version int64 `json:"config_version"`
	}
	if len(a.Status) == 0 || json.Unmarshal(a.Status, &said) != nil {
		return -1
	}
	return said.Version
}

// sight is what an instance looked like before it was told of the version: what looks the same still is of then. Times are
// the node's own, whose clock may be another.
type sight struct {
	since, upgrade time.Time
	restarts       int
}

// sights notes how the instance looks on each node before anything is asked of it.
func (j *installation) sights(ctx context.Context) error {
	rows, err := j.c.rows(ctx)
	if err != nil {
		return err
	}
	all, err := j.c.instances(ctx, rows)
	j.was = map[string]sight{}
	for _, i := range all {
		if i.Instance != j.row.Instance {
			continue
		}
		was := sight{restarts: i.Restarts}
		if i.Since != nil {
			was.since = *i.Since
		}
		if i.Upgrade != nil {
			was.upgrade = i.Upgrade.Began
		}
		j.was[i.Node.ID] = was
	}
	return err
}

// works reports whether an instance runs a version well, or why it will not.
func works(i Instance, version string, was sight) (ok bool, no string) {
	if u := i.Upgrade; u != nil && u.To == version && !u.Began.Equal(was.upgrade) &&
		(u.State == pluginhost.UpgradeRolledBack || u.State == pluginhost.UpgradeFailed) {
		return false, u.Reason
	}
	old := i.Version != version || i.Since != nil && i.Since.Equal(was.since)
	switch i.State {
	case pluginhost.Refused, pluginhost.Revoked, pluginhost.Quarantined:
		if old {
			return false, ""
		}
		return false, string(i.State) + ": " + i.Reason
	case pluginhost.Backoff:
		if i.Restarts < was.restarts { // the node counts anew
			was.restarts = 0
		}
		if !old && i.Restarts-was.restarts >= mostRestarts {
			return false, "it stops again and again: " + i.Reason
		}
	case pluginhost.Ready, pluginhost.Degraded:
		return i.Version == version, ""
	}
	return false, ""
}
