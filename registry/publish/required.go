package publish

import (
	"encoding/hex"
	"fmt"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// Required returns the file of the newest release that a requirement allows, one that is neither yanked nor revoked: what
// a node that installs from this registry alone would open. It is "" when the release is a program, which nobody opens.
func (p *Publisher) Required(need registry.Requirement) (file string, err error) {
	allowed, err := semver.NewConstraint(need.Version)
	if err != nil {
		return "", fmt.Errorf("%q is not a version range: %w", need.Version, err)
	}
	role, err := p.roleOf(need.Plugin)
	if err != nil {
		return "", err
	}
	m, err := p.state.role(role)
	if err != nil {
		return "", err
	}
	revoked, err := p.revocations()
	if err != nil {
		return "", err
	}
	_, keyIDs, err := p.vouching(namespaceOf(need.Plugin))
	if err != nil {
		return "", err
	}
	var newest *semver.Version
	for path, t := range m.Signed.Targets {
		id, version, err := registry.ParseTargetPath(path)
		if err != nil || id != need.Plugin {
			continue
		}
		v, err := semver.StrictNewVersion(version)
		if err != nil || !allowed.Check(v) || newest != nil && !v.GreaterThan(newest) {
			continue
		}
		if reason, err := tufrules.Yanked(t); err != nil || reason != "" {
			continue
		}
		if _, is := revoked.Find(registry.Subject{ID: id, Version: version, Descriptor: hex.EncodeToString(t.Hashes["sha256"]), KeyIDs: keyIDs}); is {
			continue
		}
		newest = v
	}
	if newest == nil {
		return "", fmt.Errorf("the registry has no %s %s", need.Plugin, need.Version)
	}
	d, err := p.descriptor(role, registry.TargetPath(need.Plugin, newest.Original()))
	if err != nil || !d.Manifest.IsFile() {
		return "", err
	}
	return p.path("store/sha256/" + d.Artifacts[0].SHA256), nil
}
