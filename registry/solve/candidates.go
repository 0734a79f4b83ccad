package solve

import (
	"context"
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry"
)

// candidate is a release that may be chosen. What it needs is asked for when its turn comes.
type candidate struct {
	version string
	semver  *semver.Version
	barred  string
	needs   []need
}

// cache asks a source once for everything.
type cache struct {
	src      Source
	listed   map[string][]candidate
	complete map[string]candidate // by plugin and version
}

func (c *cache) versions(ctx context.Context, id string) ([]candidate, error) {
	if have, ok := c.listed[id]; ok {
		return have, nil
	}
	versions, err := c.src.Versions(ctx, id)
	if err != nil {
		return nil, err
	}
	out := make([]candidate, 0, len(versions))
	for _, v := range versions {
		parsed, err := semver.StrictNewVersion(v.Version)
		if err != nil {
			continue // nothing can ask for it
		}
		out = append(out, candidate{version: v.Version, semver: parsed, barred: v.Barred})
	}
	if c.listed == nil {
		c.listed = map[string][]candidate{}
	}
	c.listed[id] = out
	return out, nil
}

func (c *cache) requires(ctx context.Context, id string, r candidate) (candidate, error) {
	key := id + " " + r.version
	if have, ok := c.complete[key]; ok {
		return have, nil
	}
	if r.barred == "" {
		needs, barred, err := c.src.Requires(ctx, id, r.version)
		if err != nil {
			return candidate{}, err
		}
		r.barred = barred
		if r.needs, err = parse(needs, id, r.version); err != nil && barred == "" {
			r.barred = "broken: " + err.Error()
		}
	}
	if c.complete == nil {
		c.complete = map[string]candidate{}
	}
	c.complete[key] = r
	return r, nil
}

// candidates lists the releases of a plugin in the order in which they are tried.
func (s *search) candidates(id string) ([]candidate, error) {
	in, have := s.installed[id]
	if !have {
		return s.src.versions(s.ctx, id)
	}
	present, err := present(in)
	if err != nil {
		return nil, err
	}
	if s.problem.Keep || s.onlyStays(id) {
		return append([]candidate{present}, s.others(id, in.Version)...), nil
	}
	all, err := s.src.versions(s.ctx, id)
	return merged(all, present), err
}

// onlyStays reports whether a plugin takes part because it is installed, and for no other reason.
func (s *search) onlyStays(id string) bool {
	return !slices.ContainsFunc(s.needs[id], func(n need) bool { return n.from != "" || n.text != staying })
}

// present is the installed release. That it is installed is reason enough that it may stay.
func present(in Installed) (candidate, error) {
	v, err := semver.StrictNewVersion(in.Version)
	if err != nil {
		return candidate{}, fmt.Errorf("the installed version %q of %s: %w", in.Version, in.ID, err)
	}
	needs, err := parse(in.Needs, in.ID, in.Version)
	return candidate{version: in.Version, semver: v, needs: needs}, err
}

func parse(needs []registry.Requirement, id, version string) ([]need, error) {
	var out []need
	for _, r := range needs {
		n, err := asked(r, id, version)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// others lists what a plugin could be replaced by. A source that cannot answer offers nothing: what is installed then
// stays as it is.
func (s *search) others(id, except string) []candidate {
	all, err := s.src.versions(s.ctx, id)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.version == except })
}

// merged puts the installed release in the place that its version has among the others.
func merged(all []candidate, present candidate) []candidate {
	out := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool { return c.version == present.version })
	at := slices.IndexFunc(out, func(c candidate) bool { return c.semver.LessThan(present.semver) })
	if at < 0 {
		at = len(out)
	}
	return slices.Insert(out, at, present)
}

// complete asks what a release needs. The installed one says so itself.
func (s *search) complete(id string, c candidate) (candidate, error) {
	if in, have := s.installed[id]; have && in.Version == c.version {
		return c, nil
	}
	return s.src.requires(s.ctx, id, c)
}
