package pluginhost

import (
	"errors"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// refusal says that an instance must not run as it is assigned. Time does not cure it.
type refusal struct {
	state State
	err   error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// trouble is a failed start that is not the plugin's fault; it is tried again and does not lead to quarantine.
type trouble struct{ err error }

func (t *trouble) Error() string { return t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

// errInterrupted ends a start that is no longer wanted.
var errInterrupted = errors.New("the start was interrupted")

// open asks for the bytes of one version, or of the one that is installed when it does not matter.
func (s *supervisor) open(plugin, version, runtime string) (*client.Artifact, error) {
	if shelf, ok := s.host.cfg.Registry.(Releases); ok && version != "" {
		return shelf.OpenRelease(s.ctx, plugin, version, runtime)
	}
	return s.host.cfg.Registry.OpenVerified(s.ctx, plugin, runtime)
}

// verified opens the bytes to run. The caller closes them.
func (s *supervisor) verified(a Assignment) (*client.Artifact, error) {
	art, err := s.open(a.Plugin, a.Version, a.Runtime)
	var no *registry.Refusal
	switch {
	case errors.As(err, &no) && no.Reason == registry.Revoked:
		return nil, &refusal{Revoked, err}
	case errors.As(err, &no):
		return nil, &refusal{Refused, err}
	case err != nil:
		return nil, &trouble{fmt.Errorf("open plugin %s: %w", a.Plugin, err)}
	}
	if a.Version != "" && art.Version != a.Version {
		art.Close()
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: version %s is wanted, but %s is installed on this node", a.Plugin, a.Version, art.Version)}
	}
	return art, nil
}

// allowed resolves the grants against the configuration and checks them against what the plugin asked for and what
// the node's owner allows at most.
func (s *supervisor) allowed(a Assignment, d *registry.Descriptor) ([]sdk.Permission, error) {
	full, err := config.WithDefaults(d.ConfigSchema, a.Config)
	if err != nil {
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: %w", a.Plugin, err)}
	}
	grants, err := sdk.ExpandPermissions(a.Grants, full)
	if err != nil {
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: %w", a.Plugin, err)}
	}
	asked, err := sdk.ExpandPermissions(d.Manifest.Permissions, full)
	if err != nil {
		return nil, &refusal{Refused, fmt.Errorf("plugin %s: %w", a.Plugin, err)}
	}
	unasked := func(g sdk.Permission) bool {
		covers := func(p sdk.Permission) bool { return p.Covers(g) }
		return g.Cap != sdk.CapState && !slices.ContainsFunc(asked, covers)
	}
	if s.takenBack(a) { // its successor may have been granted more
		grants = slices.DeleteFunc(grants, unasked)
	}
	for _, g := range grants {
		if unasked(g) {
			return nil, &refusal{Refused, fmt.Errorf("plugin %s %s: its plugin.yaml does not ask for the granted permission %s", a.Plugin, d.Manifest.Version, g)}
		}
	}
	if err := s.host.cfg.Ceiling.Check(d, d.Manifest.Kind, grants); err != nil {
		return nil, &refusal{Refused, err}
	}
	return grants, nil
}

// takenBack reports whether an assignment is the wanted one in another version than the wanted one.
func (s *supervisor) takenBack(a Assignment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.want != nil && s.pin != "" && a.Version == s.pin && a.Version != s.want.Version
}

// stillTrusted asks the registry again about what is running. Only a revocation stops it: an expired signature or a
// damaged file on disk takes nothing from bytes that were verified.
func (s *supervisor) stillTrusted() error {
	art, err := s.open(s.assignment.Plugin, s.assignment.Version, s.assignment.Runtime)
	if err == nil {
		return art.Close()
	}
	var no *registry.Refusal
	if errors.As(err, &no) && no.Reason == registry.Revoked {
		return err
	}
	return nil
}
