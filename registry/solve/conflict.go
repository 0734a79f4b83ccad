package solve

import (
	"fmt"
	"slices"
	"strings"
)

// Conflict is the error when no versions fit together.
type Conflict struct {
	reasons []failure
	would   []string // releases that, asked for instead, make it fit
}

// failure is one plugin of which no version was left.
type failure struct {
	id         string
	needs      []need
	candidates []candidate
}

// The bounds of a message: more than a person reads helps nobody.
const (
	maxReasons = 3
	maxListed  = 5
	maxHints   = 8
	hintSteps  = 2_000
)

func (s *search) fail(id string, candidates []candidate) {
	needs := slices.DeleteFunc(slices.Clone(s.needs[id]), func(n need) bool { return n.from == "" && n.text == staying })
	f := failure{id: id, needs: needs, candidates: s.seen(id, candidates)}
	same := func(o failure) bool {
		return o.id == id && slices.EqualFunc(o.needs, needs, func(a, b need) bool { return a.from == b.from && a.text == b.text })
	}
	if len(s.reasons) < maxReasons && !slices.ContainsFunc(s.reasons, same) {
		s.reasons = append(s.reasons, f)
	}
}

// seen fills in why candidates are barred that were asked for their needs.
func (s *search) seen(id string, candidates []candidate) []candidate {
	out := slices.Clone(candidates)
	for i, c := range out {
		if known, ok := s.src.complete[id+" "+c.version]; ok {
			out[i].barred = known.barred
		}
	}
	return out
}

// addHints looks for a version of something that was asked for with which the rest would fit.
func (s *search) addHints(c *Conflict) {
	wants := s.problem.Wants
	for i, w := range wants[:min(len(wants), maxHints)] {
		if w.Version == "" || w.Version == "*" {
			continue
		}
		other := *s
		other.steps = hintSteps
		other.problem.Wants = slices.Clone(wants)
		other.problem.Wants[i].Version = ""
		choices, err := other.run()
		if err != nil {
			continue
		}
		at, _ := slices.BinarySearchFunc(choices, w.Plugin, func(c Choice, id string) int { return strings.Compare(c.ID, id) })
		c.would = append(c.would, w.Plugin+" "+choices[at].Version)
	}
}

// Error tells the conflict as somebody would who had looked into it.
func (c *Conflict) Error() string {
	parts := make([]string, 0, len(c.reasons))
	for _, f := range c.reasons {
		parts = append(parts, f.String())
	}
	text := strings.Join(parts, ". ")
	if len(c.would) > 0 {
		text += ". " + strings.Join(c.would, " or ") + " would"
	}
	return text
}

// Texts returns the reasons one by one, and last what would help.
func (c *Conflict) Texts() []string {
	var out []string
	for _, f := range c.reasons {
		out = append(out, f.String()+".")
	}
	for _, w := range c.would {
		out = append(out, w+" would fit.")
	}
	return out
}

func (f failure) String() string {
	var parts []string
	for _, n := range f.needs {
		if n.from == "" {
			parts = append(parts, fmt.Sprintf("%s %s is wanted", f.id, n.text))
		} else {
			parts = append(parts, fmt.Sprintf("%s %s needs %s %s", n.from, n.version, f.id, n.text))
		}
	}
	return strings.Join(parts, ", ") + "; " + f.verdict()
}

// verdict says why none of the candidates will do.
func (f failure) verdict() string {
	if len(f.candidates) == 0 {
		return "no registry of this node offers " + f.id
	}
	for _, c := range f.candidates {
		refused := func(n need) bool { return !n.allows(c.semver) }
		if c.barred != "" && !slices.ContainsFunc(f.needs, refused) {
			return fmt.Sprintf("%s would fit, but it is %s", c.version, c.barred)
		}
	}
	switch len(f.needs) {
	case 0, 1:
		return "there is " + listed(f.candidates)
	case 2:
		return "no version fits both"
	default:
		return "no version fits all"
	}
}

func listed(candidates []candidate) string {
	var versions []string
	for _, c := range candidates[:min(len(candidates), maxListed)] {
		versions = append(versions, c.version)
	}
	text := strings.Join(versions, ", ")
	if more := len(candidates) - maxListed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
