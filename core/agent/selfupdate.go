package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/picketwatch/picket/core/agent/upgrade"
	"github.com/picketwatch/picket/core/kernel/config"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/agentpack"
)

// How a run of the agent ends besides an error and being stopped.
var (
	// ErrRestart asks for this agent to be started again, or for the version that was staged.
	ErrRestart = errors.New("the agent is to be started again")
	// ErrProven says that a version on trial reported to the server. It is to be started again for good.
	ErrProven = errors.New("the version on trial works")
)

// restartMe ends this process's work. The answer is on its way before.
func (a *Agent) restartMe(_ context.Context, id string, _ json.RawMessage, _ io.Writer) error {
	if !a.cfg.Restarts {
		return refusedf("this agent cannot start itself again on %s", runtime.GOOS)
	}
	if err := a.orders.settle(id, result{"done", "started again"}); err != nil {
		return err
	}
	a.endWith(ErrRestart)
	return errLater
}

// updateMe stages the release of the registry and ends this process's work, so that the base tries it.
func (a *Agent) updateMe(ctx context.Context, id string, raw json.RawMessage, out io.Writer) error {
	var args struct {
		Version string `json:"version"`
	}
	if err := understand(raw, &args); err != nil {
		return err
	}
	if !a.cfg.Restarts {
		return refusedf("this agent cannot replace itself on %s: install the new one over it", runtime.GOOS)
	}
	if a.cfg.Trial {
		return refusedf("%s is on trial itself; ask again in a minute", config.Version)
	}
	if args.Version != "" && !upgrade.Newer(args.Version, config.Version) {
		return refusedf("%s is not newer than %s, which runs: an agent never goes back", args.Version, config.Version)
	}
	in, err := a.registry.Install(ctx, agentpack.ID, args.Version, registry.RuntimeFile)
	if err != nil {
		return err
	}
	if in.Descriptor.Manifest.Kind != registry.KindAgent || !upgrade.Newer(in.Version, config.Version) {
		return refusedf("%s is not newer than %s, which runs: an agent never goes back", in.Version, config.Version)
	}
	fmt.Fprintf(out, "%s %s is verified; it takes over when it has reported to the server\n", in.ID, in.Version)
	art, err := a.registry.OpenVerified(ctx, agentpack.ID, registry.RuntimeFile)
	if err != nil {
		return err
	}
	defer art.Close()
	if err := a.shelf.Stage(art.Version, id, art.File); err != nil {
		return err
	}
	a.endWith(ErrRestart)
	return errLater
}

// heedRevocation ends this run when the registry has withdrawn the version that runs: the one that was installed here runs again.
// A version on trial is not looked at: it is not this process's to give up.
func (a *Agent) heedRevocation(ctx context.Context) {
	if !a.cfg.Updated || a.cfg.Trial || !a.cfg.Restarts {
		return
	}
	art, err := a.registry.OpenRelease(ctx, agentpack.ID, config.Version, registry.RuntimeFile)
	if err == nil {
		art.Close()
		return
	}
	var no *registry.Refusal
	if !errors.As(err, &no) || no.Reason != registry.Revoked {
		return
	}
	if gone, err := a.shelf.Withdraw(config.Version); err != nil || !gone {
		a.log.Error("this version of the agent was withdrawn, and runs on", "reason", no, "problem", err)
		return
	}
	a.log.Warn("this version of the agent was withdrawn; the installed one runs again", "reason", no)
	a.endWith(ErrRestart)
}

// settleUpdate answers the order of an update that is over.
func (a *Agent) settleUpdate(o *orders) error {
	done, err := a.shelf.Outcome()
	if err != nil || done == nil {
		return err
	}
	r := result{"done", "the agent is " + done.Version + " now"}
	if done.Problem != "" {
		r = result{"failed", clip(fmt.Sprintf("%s was given up and %s runs again: %s", done.Version, config.Version, done.Problem))}
	}
	a.log.Info("update of the agent", "version", done.Version, "state", r.State, "output", r.Output)
	if err := o.settle(done.Order, r); err != nil {
		return err
	}
	return a.shelf.Told()
}

// proved is called when the server took a report.
func (a *Agent) proved() {
	if a.cfg.Trial {
		a.endWith(ErrProven)
	}
}

// endWith ends Run in order; the first reason counts.
func (a *Agent) endWith(why error) {
	select {
	case a.ending <- why:
	default:
	}
}
