package fleetcmd

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// running is an instance on one node, as far as its version goes.
type running struct {
	Instance string
	Node     struct{ ID, Name string }
	Version  string
	Previous string
	Upgrade  struct{ To, State, Reason, Began string } // the last change of version; empty when there was none
}

func (r running) where() string {
	if r.Node.Name == "" {
		return "this server"
	}
	return r.Node.Name
}

func updateCmd(s *server) *cobra.Command {
	var instance string
	cmd := &cobra.Command{Use: "update PLUGIN@VERSION", Short: "Change the version of an instance while it works, on all its nodes at once; see also `rollout`",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, version := splitVersion(args[0])
			if version == "" {
				return usage.Errorf("name the version, PLUGIN@VERSION")
			}
			in := map[string]string{"instance": orID(instance, id), "version": version}
			return s.changeVersion(cmd, id, "/upgrade", in, func(r running) bool { return r.Version != version })
		}}
	cmd.Flags().StringVar(&instance, "instance", "", "the instance (default the one that is called like the plugin)")
	return cmd
}

func rollbackCmd(s *server) *cobra.Command {
	var instance, node string
	cmd := &cobra.Command{Use: "rollback PLUGIN", Short: "Go back to the version that ran before", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := map[string]string{"instance": orID(instance, args[0])}
			if node != "" {
				in["node"] = node
			}
			return s.changeVersion(cmd, args[0], "/rollback", in, func(r running) bool { return r.Previous != "" })
		}}
	cmd.Flags().StringVar(&instance, "instance", "", "the instance (default the one that is called like the plugin)")
	cmd.Flags().StringVar(&node, "node", "", "the id of the agent whose earlier version is meant, when several run it")
	return cmd
}

func orID(instance, id string) string {
	if instance == "" {
		return id
	}
	return instance
}

// changeWithin is how long a command waits to see what became of a change of version.
const changeWithin = 30 * time.Second

// changeVersion asks for another version and follows what the nodes make of it: agents are told, and report.
func (s *server) changeVersion(cmd *cobra.Command, id, tail string, in map[string]string, changes func(running) bool) error {
	path, err := pluginPath("/plugins", id, "")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), changeWithin)
	defer cancel()
	before, err := s.running(ctx, path, in["instance"])
	if err != nil {
		return err
	}
	if err := s.call(cmd.Context(), http.MethodPost, path+tail, nil, in, nil); err != nil {
		return err
	}
	began := map[string]string{}
	for _, r := range before {
		if changes(r) {
			began[r.Node.ID] = r.Upgrade.Began
		}
	}
	// What is asked for twice in a moment looks like a failure in between, so an end is an end when it is seen twice.
	now, ends := before, 0
	for ends < 2 && sleep(ctx, pollEvery) {
		seen, err := s.running(ctx, path, in["instance"])
		if err != nil && ctx.Err() == nil {
			return err
		}
		if err != nil {
			break
		}
		now, ends = seen, ends+1
		if slices.ContainsFunc(now, func(r running) bool { return r.changing(began) }) {
			ends = 0
		}
	}
	return s.showVersions(cmd, id, now, began)
}

// changing tells whether a node has yet to do what it was asked to.
func (r running) changing(began map[string]string) bool {
	was, asked := began[r.Node.ID]
	return asked && (r.Upgrade.Began == was || r.Upgrade.State == "starting")
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *server) running(ctx context.Context, path, instance string) ([]running, error) {
	var plugin struct{ Instances []running }
	if err := s.call(ctx, http.MethodGet, path, nil, nil, &plugin); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(plugin.Instances, func(r running) bool { return r.Instance != instance }), nil
}

// showVersions prints which version runs where. That a node stayed at the old one is an error, with its reason.
func (s *server) showVersions(cmd *cobra.Command, id string, now []running, began map[string]string) error {
	err := s.show(cmd, func(p *columns.Printer) {
		for _, r := range now {
			line := fmt.Sprintf("%s runs %s %s", r.where(), id, r.Version)
			if r.changing(began) {
				p.Line(columns.S(columns.Warn, line+" and has not changed yet; picket fleet list shows when it has"))
				continue
			}
			p.Line(columns.C(line))
		}
	})
	for _, r := range now {
		_, asked := began[r.Node.ID]
		if err == nil && asked && !r.changing(began) && (r.Upgrade.State == "failed" || r.Upgrade.State == "rolled_back") {
			err = fmt.Errorf("%s stays at %s on %s: %s", id, r.Version, r.where(), r.Upgrade.Reason)
		}
	}
	return err
}
