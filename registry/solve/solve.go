// Package solve chooses versions of plugins that fit together: what somebody wants and what is installed go in, one
// version of each plugin comes out, or a Conflict that says in words why there is none. It knows no network and no
// files; a Source answers what there is.
//
// The search goes newest first and back over decisions that had a part in a failure, so that the plugin that was asked
// for first gets the newest version that any solution gives it. Plugins may need each other in a circle.
package solve

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/picketwatch/picket/registry"
)

// Source answers what there is. Its errors end the search; what merely cannot be used is barred.
type Source interface {
	// Versions lists the releases of a plugin, the ones to try first in front. A plugin that nobody offers has none.
	Versions(ctx context.Context, id string) ([]Version, error)
	// Requires returns what a release needs. barred says why this node cannot use it, "" when it can.
	Requires(ctx context.Context, id, version string) (needs []registry.Requirement, barred string, err error)
}

// Version is a release that a source lists.
type Version struct {
	Version string
	Barred  string // why it must not be chosen ("yanked: it leaks memory"); "" when it may
}

// Problem is what to solve.
type Problem struct {
	Wants []registry.Requirement // what was asked for, the most important first
	// Installed are the plugins of the node. They take part because what they need must still hold afterwards; they stay
	// as they are where that is possible.
	Installed []Installed
	// Keep leaves an installed version that fits in its place. Without it what was asked for, and what that needs, gets
	// the newest version.
	Keep bool
}

// Installed is a release that the node has.
type Installed struct {
	ID      string
	Version string
	Needs   []registry.Requirement
}

// Choice is one plugin of a solution.
type Choice struct {
	ID      string
	Version string
	Because []string // the chosen plugins that need it; empty for what was asked for and for what was there
	Moved   string   // the installed version that it replaces, "" when it is new or stays
	New     bool     // it was not installed
}

// The bounds of one search. A registry whose releases need each other in ever new ways is no reason to stop a node.
const (
	maxSteps   = 20_000
	maxPlugins = 512
)

// errTangled says that the search was given up.
var errTangled = errors.New("the requirements are too tangled to solve in reasonable time; name versions of the plugins that you install")

// Solve returns the plugins that the node has afterwards, ordered by id. The error is a *Conflict when no versions fit
// together.
func Solve(ctx context.Context, src Source, p Problem) ([]Choice, error) {
	s := &search{ctx: ctx, src: &cache{src: src}, problem: p, installed: map[string]Installed{}, steps: maxSteps}
	for _, in := range p.Installed {
		s.installed[in.ID] = in
	}
	choices, err := s.run()
	var conflict *Conflict
	if errors.As(err, &conflict) {
		s.addHints(conflict)
	}
	return choices, err
}

// search is one walk through the possible choices.
type search struct {
	ctx       context.Context
	src       *cache
	problem   Problem
	installed map[string]Installed
	steps     int

	order   []string             // plugins that are needed, in the order in which they are decided
	chosen  map[string]candidate // by plugin
	needs   map[string][]need    // what is asked of a plugin, by whom
	reasons []failure
}

// need is one requirement of somebody.
type need struct {
	of      string // the plugin that is needed
	from    string // the plugin that needs it, "" for whoever asked
	version string // of from
	text    string // the range
	allows  func(*semver.Version) bool
}

// staying is how an installed plugin stands among the needs: any version will do, the present one is best.
const staying = "stays"

func (s *search) run() ([]Choice, error) {
	s.chosen, s.needs, s.order, s.reasons = map[string]candidate{}, map[string][]need{}, nil, nil
	for _, w := range s.problem.Wants {
		n, err := asked(w, "", "")
		if err != nil {
			return nil, err
		}
		s.add(n)
	}
	for _, in := range s.problem.Installed {
		s.add(need{of: in.ID, text: staying, allows: func(*semver.Version) bool { return true }})
	}
	culprits, err := s.decide(0)
	if err != nil {
		return nil, err
	}
	if culprits != nil {
		return nil, &Conflict{reasons: s.reasons}
	}
	return s.choices(), nil
}

// asked turns a requirement into a need.
func asked(r registry.Requirement, from, version string) (need, error) {
	text := r.Version
	if text == "" {
		text = "*"
	}
	c, err := semver.NewConstraint(text)
	if err != nil {
		return need{}, fmt.Errorf("%q, the version of %s, is not a version or a range such as \"^1.2\"", r.Version, r.Plugin)
	}
	return need{of: r.Plugin, from: from, version: version, text: text, allows: c.Check}, nil
}

// culprits are the plugins whose choices together made a failure; nil means success.
type culprits map[string]bool

// decide chooses versions for all plugins from place i of the order on.
func (s *search) decide(i int) (culprits, error) {
	if i == len(s.order) {
		return nil, nil
	}
	if len(s.order) > maxPlugins {
		return nil, errTangled
	}
	id := s.order[i]
	candidates, err := s.candidates(id)
	if err != nil {
		return nil, err
	}
	blame := culprits{}
	for _, n := range s.needs[id] {
		blame[n.from] = true
	}
	usable := 0
	for _, c := range candidates {
		if s.steps--; s.steps < 0 {
			return nil, errTangled
		}
		if err := s.ctx.Err(); err != nil {
			return nil, err
		}
		if !s.fits(id, c.semver) {
			continue
		}
		if c, err = s.complete(id, c); err != nil {
			return nil, err
		}
		if c.barred != "" {
			continue
		}
		usable++
		failed, err := s.try(i, id, c)
		if failed == nil || err != nil {
			return nil, err
		}
		if !failed[id] {
			return failed, nil // another version of this one changes nothing
		}
		maps.Copy(blame, failed)
	}
	if usable == 0 {
		s.fail(id, candidates)
	}
	delete(blame, id)
	return blame, nil
}

// try chooses a release and goes on. On failure everything is as it was.
func (s *search) try(i int, id string, c candidate) (culprits, error) {
	undo := len(s.order)
	s.chosen[id] = c
	for _, n := range c.needs {
		s.add(n)
	}
	failed := s.broken(id, c)
	var err error
	if failed == nil {
		failed, err = s.decide(i + 1)
	}
	if failed == nil || err != nil {
		return failed, err
	}
	s.back(id, c.needs, undo)
	return failed, nil
}

// broken looks whether what a release needs of those chosen before it holds.
func (s *search) broken(id string, c candidate) culprits {
	for _, n := range c.needs {
		other, decided := s.chosen[n.of]
		if !decided || n.allows(other.semver) {
			continue
		}
		listed, err := s.src.versions(s.ctx, n.of)
		if err != nil {
			listed = nil // it is only for the message
		}
		s.fail(n.of, listed)
		return culprits{id: true, n.of: true}
	}
	return nil
}

func (s *search) add(n need) {
	if len(s.needs[n.of]) == 0 {
		s.order = append(s.order, n.of)
	}
	s.needs[n.of] = append(s.needs[n.of], n)
}

// back takes a choice and what it needs away again.
func (s *search) back(id string, needs []need, order int) {
	for _, n := range slices.Backward(needs) {
		list := s.needs[n.of]
		s.needs[n.of] = list[:len(list)-1]
	}
	s.order = s.order[:order]
	delete(s.chosen, id)
}

// fits reports whether everybody who needs a plugin accepts a version of it.
func (s *search) fits(id string, v *semver.Version) bool {
	return !slices.ContainsFunc(s.needs[id], func(n need) bool { return !n.allows(v) })
}

func (s *search) choices() []Choice {
	var out []Choice
	for _, id := range slices.Sorted(maps.Keys(s.chosen)) {
		c := Choice{ID: id, Version: s.chosen[id].version}
		for _, n := range s.needs[id] {
			if n.from != "" && n.from != id && !slices.Contains(c.Because, n.from) {
				c.Because = append(c.Because, n.from)
			}
		}
		slices.Sort(c.Because)
		in, had := s.installed[id]
		c.New = !had
		if had && in.Version != c.Version {
			c.Moved = in.Version
		}
		out = append(out, c)
	}
	return out
}
