package pluginhost

import (
	"time"

	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/client"
	"github.com/picketwatch/picket/sdk"
)

// release is what a process was started from.
type release struct {
	assignment Assignment
	kind       sdk.Kind
	version    string
	digest     string
	grants     []sdk.Permission
	limits     confine.Limits
	locked     registry.Locked // who vouched for it when it was installed
	requires   []registry.Requirement
	models     []model
}

func releaseOf(a Assignment, art *client.Artifact) release {
	return release{assignment: a, kind: art.Descriptor.Manifest.Kind, version: art.Version, digest: art.Digest, locked: art.Locked,
		requires: art.Descriptor.Manifest.Requires}
}

// role is what a process of an instance is for.
type role uint8

const (
	inCharge  role = iota // answers the calls
	candidate             // is to take the place of the one in charge
	shadowing             // sees the same input, and what it says reaches nobody
)

// folder begins the name of the folder for the state of such a process.
func (r role) folder() string {
	switch r {
	case candidate:
		return "c-"
	case shadowing:
		return "s-"
	}
	return "i-"
}

// limitsOf joins what the manifest states, what the operator allows and what the node has to give.
func (h *Host) limitsOf(a Assignment, d *registry.Descriptor) (confine.Limits, error) {
	operator, err := confine.FromManifest(a.Limits)
	if err != nil {
		return confine.Limits{}, err
	}
	l, err := confine.Merge(d.Manifest.Kind, d.Manifest.Limits, operator, h.cfg.MaxLimits)
	if err != nil {
		return l, err
	}
	if own, _ := d.Manifest.Limits.DeadlineDuration(); own == 0 && operator.Deadline == 0 {
		l.Deadline = 0 // each kind of call has its own
	}
	return l, nil
}

// deadline is how long one call may take: what was stated for the plugin, else what the host grants this kind of call.
func (r *run) deadline(standard time.Duration) time.Duration {
	if r.limits.Deadline > 0 {
		standard = r.limits.Deadline
	}
	return r.assignment.patient(standard)
}
