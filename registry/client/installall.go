package client

import (
	"context"
	"errors"

	"github.com/picketwatch/picket/registry"
)

// Progress is how far an installation of several plugins is. Bytes are counted over all of them.
type Progress struct {
	ID      string
	Version string
	State   string // StateChecking, StateFetching or StateInstalled
	Done    int64
	Total   int64
}

// The states of Progress. Until the last one nothing has changed on the node.
const (
	StateChecking  = "checking"
	StateFetching  = "fetching"
	StateInstalled = "installed"
)

func installAll(ctx context.Context, node *Client, who owners, p *Plan, progress func(Progress)) ([]*Installed, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	job := &installation{node: node, who: who, plan: p, progress: progress}
	for _, step := range p.Steps {
		job.total += step.Fetch
	}
	if err := job.check(ctx); err != nil {
		return nil, err
	}
	if err := job.fetch(ctx); err != nil {
		return nil, err
	}
	if err := job.pin(ctx); err != nil {
		return nil, err
	}
	node.sweepPartial()
	return job.installed()
}

// installation is a plan at work.
type installation struct {
	node     *Client
	who      owners
	plan     *Plan
	progress func(Progress)

	clients     []*Client // who offers each step, by its place in the plan
	done, total int64
}

func (j *installation) tell(step Step, state string, done int64) {
	j.progress(Progress{ID: step.Release.ID, Version: step.Release.Version, State: state, Done: done, Total: j.total})
}

// check holds the plan against the registries as they are now: between planning and installing a release may have been
// revoked, and what is installed needs fresh signatures.
func (j *installation) check(ctx context.Context) error {
	fresh := map[*Client]*view{}
	for _, step := range j.plan.Steps {
		id, version := step.Release.ID, step.Release.Version
		j.tell(step, StateChecking, 0)
		c, err := j.who.owner(ctx, id)
		if err != nil {
			return refuse(err, id, version)
		}
		if fresh[c] == nil {
			if fresh[c], err = c.refresh(ctx); err != nil {
				return refuse(err, id, version)
			}
			if err := c.checkFreshness(); err != nil {
				return refuse(err, id, version)
			}
		}
		if err := c.stillThere(ctx, fresh[c], step); err != nil {
			return refuse(err, id, version)
		}
		j.clients = append(j.clients, c)
	}
	return nil
}

func (c *Client) stillThere(ctx context.Context, v *view, step Step) error {
	if step.Registry != c.cfg.Name {
		return refusal(registry.Confusion, "it was planned from the registry %q, but its namespace belongs to %q", step.Registry, c.cfg.Name)
	}
	space, err := c.namespaceOf(ctx, v, step.Release.ID)
	if err != nil {
		return err
	}
	e, err := v.pick(space, step.Release.ID, byDigest+step.Release.Digest, nil)
	if err != nil {
		return err
	}
	if e.yanked != "" && !step.exact && !c.lockedDigests(e.id)[e.digest] {
		return refusal(registry.Yanked, "%s", e.yanked)
	}
	return c.usable(e)
}

// fetch brings all bytes first.
func (j *installation) fetch(ctx context.Context) error {
	for i, step := range j.plan.Steps {
		start := j.done
		told := func(done int64) {
			if step.Fetch > 0 {
				j.done = start + done
			}
			j.tell(step, StateFetching, j.done)
		}
		if err := j.clients[i].download(ctx, step.Artifact, told); err != nil {
			return refuse(err, step.Release.ID, step.Release.Version)
		}
	}
	return nil
}

// pin makes all of it the node's in one change.
func (j *installation) pin(ctx context.Context) error {
	if len(j.plan.Steps) == 0 {
		return nil
	}
	err := j.node.changeLock(ctx, func(lock *registry.Lock) error {
		for i, step := range j.plan.Steps {
			if err := j.clients[i].pinIn(lock, step.Release); err != nil {
				return refuse(err, step.Release.ID, step.Release.Version)
			}
		}
		return nil
	})
	var no *registry.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &no):
		return no
	default:
		return local(err)
	}
}

func (j *installation) installed() ([]*Installed, error) {
	var out []*Installed
	for _, step := range j.plan.Steps {
		in, ok := j.node.Installed(step.Release.ID)
		if !ok || in.Descriptor == nil {
			return nil, refuse(refusal(registry.BadLocalState, "plugins.lock does not hold what was just written"), step.Release.ID, step.Release.Version)
		}
		out = append(out, in)
		j.tell(step, StateInstalled, j.total)
	}
	return out, nil
}
