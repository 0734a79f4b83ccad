package pluginhost

import (
	"github.com/picketwatch/picket/core/kernel/pluginhost/broker"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk"
)

// ProcessExplanation says what a process of an instance rests on: which bytes, vouched for by whom, held to what.
type ProcessExplanation struct {
	Version      string             `json:"version"`
	Digest       string             `json:"digest" doc:"SHA-256 of the bytes that run."`
	Descriptor   string             `json:"descriptor,omitempty" doc:"SHA-256 of the signed descriptor."`
	Role         string             `json:"role,omitempty" doc:"The role of the registry that vouches for it."`
	KeyIDs       []string           `json:"key_ids,omitempty" doc:"The keys of that role."`
	Models       []ModelExplanation `json:"models,omitempty" doc:"The models and data packs that it may open."`
	Grants       string             `json:"grants_sha256,omitempty" doc:"What plugins.lock pins of the grants."`
	Permissions  []sdk.Permission   `json:"permissions,omitempty" doc:"The grants, with the configuration filled in."`
	Shares       []string           `json:"shares,omitempty" doc:"The other instances of its pack that run in the same process."`
	Confinement  *confine.Report    `json:"confinement,omitempty" doc:"How far the process is confined."`
	Used         []broker.Use       `json:"used,omitempty" doc:"What it used of its permissions, and what it was refused."`
	UsedMore     uint64             `json:"used_more,omitempty" doc:"Uses that found no room in the list."`
	RefusedCalls []RefusedCall      `json:"refused_calls,omitempty" doc:"Calls of the kernel that it made and that were refused."`
	Unused       []sdk.Permission   `json:"unused,omitempty" doc:"Grants of network and files that it never used."`
}

// ModelExplanation says which bytes a process reads as a model, and who vouches for them.
type ModelExplanation struct {
	ID         string   `json:"id"`
	Requires   string   `json:"requires" doc:"The range of versions that the plugin's manifest names."`
	Version    string   `json:"version"`
	Digest     string   `json:"digest" doc:"SHA-256 of the bytes that it reads."`
	Descriptor string   `json:"descriptor" doc:"SHA-256 of the signed descriptor."`
	Role       string   `json:"role,omitempty" doc:"The role of the registry that vouches for it."`
	KeyIDs     []string `json:"key_ids,omitempty" doc:"The keys of that role."`
}

// reportedUses is how many uses of an instance stand in a report: the most frequent.
const reportedUses = 20

// Report tells what the running processes rest on, by instance, short enough to be sent now and then.
func (h *Host) Report() map[string]ProcessExplanation {
	out := map[string]ProcessExplanation{}
	for _, s := range h.all() {
		e, err := h.Explain(s.name)
		if err != nil || e.Confinement == nil {
			continue // it went meanwhile, or does not run
		}
		if more := len(e.Used) - reportedUses; more > 0 {
			e.Used, e.UsedMore = e.Used[:reportedUses], e.UsedMore+uint64(more)
		}
		out[s.name] = e
	}
	return out
}

// Explain tells what the running process of an instance rests on. Of one that does not run little is known.
func (h *Host) Explain(instance string) (ProcessExplanation, error) {
	s, err := h.supervisor(instance)
	if err != nil {
		return ProcessExplanation{}, err
	}
	s.mu.Lock()
	r := s.cur
	e := ProcessExplanation{Version: s.state.Version, Digest: s.state.Digest, Permissions: s.state.Permissions}
	s.mu.Unlock()
	e.RefusedCalls = s.calls.list()
	if r == nil {
		return e, nil
	}
	e.Descriptor, e.Role, e.KeyIDs, e.Grants = r.locked.Descriptor, r.locked.Role, r.locked.KeyIDs, r.locked.Grants
	e.Confinement, e.Shares = &r.reached, r.others(r)
	for _, m := range r.models {
		e.Models = append(e.Models, ModelExplanation{
			ID: m.locked.ID, Requires: m.need.Version, Version: m.locked.Version, Digest: m.digest,
			Descriptor: m.locked.Descriptor, Role: m.locked.Role, KeyIDs: m.locked.KeyIDs,
		})
	}
	e.Used, e.UsedMore = r.broker.Use()
	e.Unused = r.broker.Unused(e.Permissions)
	return e, nil
}
