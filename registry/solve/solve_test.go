package solve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/Masterminds/semver/v3"
	"pgregory.net/rapid"

	"github.com/picketwatch/picket/registry"
)

// shelf is a source in memory: "acme/a 1.2.0" → what it needs. Barred releases begin their needs with "!".
type shelf map[string][]string

func (s shelf) Versions(_ context.Context, id string) ([]Version, error) {
	var out []Version
	for key, needs := range s {
		of, version, _ := strings.Cut(key, " ")
		if of != id {
			continue
		}
		v := Version{Version: version}
		if len(needs) > 0 && strings.HasPrefix(needs[0], "!") {
			v.Barred = needs[0][1:]
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b Version) int {
		return semver.MustParse(b.Version).Compare(semver.MustParse(a.Version))
	})
	return out, nil
}

func (s shelf) Requires(_ context.Context, id, version string) ([]registry.Requirement, string, error) {
	needs := s[id+" "+version]
	if len(needs) > 0 && strings.HasPrefix(needs[0], "?") {
		return nil, needs[0][1:], nil
	}
	return requirements(needs...), "", nil
}

func requirements(list ...string) []registry.Requirement {
	var out []registry.Requirement
	for _, text := range list {
		id, r, _ := strings.Cut(text, " ")
		out = append(out, registry.Requirement{Plugin: id, Version: r})
	}
	return out
}

func solved(t *testing.T, src shelf, p Problem) string {
	t.Helper()
	choices, err := Solve(t.Context(), src, p)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, c := range choices {
		out = append(out, c.ID+" "+c.Version)
	}
	return strings.Join(out, ", ")
}

func TestSolve(t *testing.T) {
	lib := shelf{"acme/lib 1.0.0": nil, "acme/lib 1.5.0": nil, "acme/lib 2.0.0": nil, "acme/lib 2.1.0-rc.1": nil}
	with := func(more shelf) shelf {
		out := shelf{}
		for _, m := range []shelf{lib, more} {
			for k, v := range m {
				out[k] = v
			}
		}
		return out
	}
	installed := []Installed{{ID: "acme/lib", Version: "1.0.0"}, {ID: "acme/old", Version: "1.0.0", Needs: requirements("acme/lib ^1")}}
	for name, c := range map[string]struct {
		src  shelf
		p    Problem
		want string
	}{
		"newest first": {lib, Problem{Wants: requirements("acme/lib")}, "acme/lib 2.0.0"},
		"a prerelease by its name": {
			lib, Problem{Wants: requirements("acme/lib 2.1.0-rc.1")}, "acme/lib 2.1.0-rc.1"},
		"what is needed comes along": {
			with(shelf{"acme/a 1.0.0": {"acme/lib ^1"}}), Problem{Wants: requirements("acme/a")}, "acme/a 1.0.0, acme/lib 1.5.0"},
		"back over a release that does not fit": {
			with(shelf{"acme/a 1.0.0": {"acme/lib ^1"}, "acme/a 2.0.0": {"acme/lib ^3"}}),
			Problem{Wants: requirements("acme/a")}, "acme/a 1.0.0, acme/lib 1.5.0"},
		"a circle": {
			shelf{"acme/a 1.0.0": {"acme/b *"}, "acme/b 1.0.0": {"acme/a ^1"}},
			Problem{Wants: requirements("acme/a")}, "acme/a 1.0.0, acme/b 1.0.0"},
		"the first who asks gets the newest": {
			shelf{"acme/a 2.0.0": {"acme/b ^1"}, "acme/a 1.0.0": nil, "acme/b 1.0.0": nil, "acme/b 2.0.0": nil},
			Problem{Wants: requirements("acme/a", "acme/b")}, "acme/a 2.0.0, acme/b 1.0.0"},
		"yanked and revoked releases are left out": {
			shelf{"acme/a 1.2.0": {"!revoked: it mines"}, "acme/a 1.1.0": {"?made for another platform"}, "acme/a 1.0.0": nil},
			Problem{Wants: requirements("acme/a")}, "acme/a 1.0.0"},
		"installed versions stay when they fit": {
			lib, Problem{Wants: requirements("acme/lib ^1"), Installed: installed, Keep: true}, "acme/lib 1.0.0, acme/old 1.0.0"},
		"what is asked for moves as far as those allow who need it": {
			lib, Problem{Wants: requirements("acme/lib"), Installed: installed}, "acme/lib 1.5.0, acme/old 1.0.0"},
		"others stay": {
			with(shelf{"acme/a 1.0.0": nil, "acme/old 2.0.0": nil}), Problem{Wants: requirements("acme/a"), Installed: installed},
			"acme/a 1.0.0, acme/lib 1.0.0, acme/old 1.0.0"},
		"another moves when it must": {
			with(shelf{"acme/a 1.0.0": {"acme/lib ^2"}, "acme/old 2.0.0": {"acme/lib >=1"}}),
			Problem{Wants: requirements("acme/a"), Installed: installed}, "acme/a 1.0.0, acme/lib 2.0.0, acme/old 2.0.0"},
		"installed and gone from the registry": {
			shelf{"acme/a 1.0.0": nil}, Problem{Wants: requirements("acme/a"), Installed: installed},
			"acme/a 1.0.0, acme/lib 1.0.0, acme/old 1.0.0"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := solved(t, c.src, c.p); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// A conflict reads as if a person had looked into it.
func TestConflictReads(t *testing.T) {
	src := shelf{
		"acme/lib 1.0.0": nil, "acme/lib 2.0.0": nil,
		"acme/a 1.2.0": {"acme/lib ^2"},
		"acme/b 1.0.0": {"acme/lib ^1"}, "acme/b 1.1.0": {"acme/lib ^2"},
		"acme/c 1.0.0": {"acme/nowhere *"}, "acme/d 1.0.0": {"acme/bad ^1"}, "acme/bad 1.4.0": {"!revoked: it mines coins"},
		"acme/e 1.0.0": {"?not built for plan9/riscv64"},
	}
	for name, c := range map[string]struct{ wants, want string }{
		"two ranges": {"acme/a|acme/b 1.0.0",
			"acme/a 1.2.0 needs acme/lib ^2, acme/b 1.0.0 needs acme/lib ^1; no version fits both. acme/b 1.1.0 would"},
		"nobody has it":   {"acme/c", "acme/c 1.0.0 needs acme/nowhere *; no registry of this node offers acme/nowhere"},
		"no such version": {"acme/lib ^3", "acme/lib ^3 is wanted; there is 2.0.0, 1.0.0. acme/lib 2.0.0 would"},
		"revoked":         {"acme/d", "acme/d 1.0.0 needs acme/bad ^1; 1.4.0 would fit, but it is revoked: it mines coins"},
		"platform":        {"acme/e", "acme/e * is wanted; 1.0.0 would fit, but it is not built for plan9/riscv64"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Problem{Wants: requirements(strings.Split(c.wants, "|")...)}
			_, err := Solve(t.Context(), src, p)
			var conflict *Conflict
			if !errors.As(err, &conflict) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			if len(conflict.Texts()) == 0 {
				t.Error("no texts")
			}
		})
	}
	if _, err := Solve(t.Context(), src, Problem{Wants: requirements("acme/a not-a-range")}); err == nil {
		t.Error("a wrong range was taken")
	}
}

// Ten plugins that want nine versions, all different: it takes very long to see that it cannot be, and a hostile
// registry can say it. That ends the search, not the node.
func TestTangledIsGivenUp(t *testing.T) {
	src, wants := shelf{}, []string{}
	for i := range 10 {
		id := fmt.Sprintf("acme/p%d", i)
		wants = append(wants, id)
		for v := range 9 {
			var needs []string
			for j := range 10 {
				if j != i {
					needs = append(needs, fmt.Sprintf("acme/p%d !=%d.0.0", j, v))
				}
			}
			src[fmt.Sprintf("%s %d.0.0", id, v)] = needs
		}
	}
	if _, err := Solve(t.Context(), src, Problem{Wants: requirements(wants...)}); !errors.Is(err, errTangled) {
		t.Errorf("got %v", err)
	}
}

// The search finds a solution exactly when trying everything does, and one that holds; the first plugin that was asked
// for gets the newest version that any solution has.
func TestSolveAgainstBruteForce(t *testing.T) {
	ids := []string{"x/a", "x/b", "x/c", "x/d"}
	ranges := []string{"*", "^1", "^2", "<2", ">=1.1", "1.0.0", "2.0.0"}
	versions := []string{"2.0.0", "1.1.0", "1.0.0"}
	rapid.Check(t, func(t *rapid.T) {
		src := shelf{}
		for _, id := range ids {
			for _, v := range versions {
				if !rapid.Bool().Draw(t, "there is "+id+v) {
					continue
				}
				var needs []string
				for _, other := range ids {
					if other != id && rapid.IntRange(0, 2).Draw(t, "need") == 0 {
						needs = append(needs, other+" "+rapid.SampledFrom(ranges).Draw(t, "range"))
					}
				}
				src[id+" "+v] = needs
			}
		}
		p := Problem{Keep: rapid.Bool().Draw(t, "keep")}
		for range rapid.IntRange(1, 3).Draw(t, "wants") {
			p.Wants = append(p.Wants, requirements(rapid.SampledFrom(ids).Draw(t, "id")+" "+rapid.SampledFrom(ranges).Draw(t, "range"))...)
		}
		if rapid.Bool().Draw(t, "installed") {
			id, v := rapid.SampledFrom(ids).Draw(t, "installed id"), rapid.SampledFrom(versions).Draw(t, "installed version")
			p.Installed = []Installed{{ID: id, Version: v, Needs: requirements(src[id+" "+v]...)}}
			if _, there := src[id+" "+v]; !there {
				src[id+" "+v] = nil
			}
		}
		got, err := Solve(context.Background(), src, p)
		var conflict *Conflict
		if err != nil && !errors.As(err, &conflict) {
			t.Fatal(err)
		}
		best := bruteForce(src, ids, p)
		if (err == nil) != (best != "") {
			t.Fatalf("solved: %v (%v), by trying everything: %q\n%v\n%v", got, err, best, src, p)
		}
		if err != nil {
			if conflict.Error() == "" {
				t.Fatal("a conflict without a word")
			}
			return
		}
		chosen := map[string]string{}
		for _, c := range got {
			chosen[c.ID] = c.Version
		}
		if !holds(src, chosen, p) {
			t.Fatalf("%v does not hold\n%v\n%v", got, src, p)
		}
		for _, c := range got { // nothing came along that nobody needs
			asked := slices.ContainsFunc(p.Wants, func(w registry.Requirement) bool { return w.Plugin == c.ID })
			if c.New && !asked && len(c.Because) == 0 {
				t.Fatalf("%s came along for nothing: %v", c.ID, got)
			}
		}
		if !p.Keep && chosen[p.Wants[0].Plugin] != best {
			t.Fatalf("%s is %s, %s was possible\n%v\n%v", p.Wants[0].Plugin, chosen[p.Wants[0].Plugin], best, src, p)
		}
	})
}

// bruteForce returns the newest version of the first wanted plugin in any solution, "" when there is none.
func bruteForce(src shelf, ids []string, p Problem) string {
	best := ""
	var walk func(i int, chosen map[string]string)
	walk = func(i int, chosen map[string]string) {
		if i == len(ids) {
			v := chosen[p.Wants[0].Plugin]
			if holds(src, chosen, p) && (best == "" || semver.MustParse(v).GreaterThan(semver.MustParse(best))) {
				best = v
			}
			return
		}
		walk(i+1, chosen)
		for key := range src {
			if id, v, _ := strings.Cut(key, " "); id == ids[i] {
				chosen[id] = v
				walk(i+1, chosen)
				delete(chosen, id)
			}
		}
	}
	walk(0, map[string]string{})
	return best
}

func holds(src shelf, chosen map[string]string, p Problem) bool {
	ok := func(needs []registry.Requirement) bool {
		return !slices.ContainsFunc(needs, func(r registry.Requirement) bool {
			v, there := chosen[r.Plugin]
			n, err := asked(r, "", "")
			return !there || err != nil || !n.allows(semver.MustParse(v))
		})
	}
	for id, v := range chosen {
		needs, listed := src[id+" "+v]
		if !listed || !ok(requirements(needs...)) {
			return false
		}
	}
	for _, in := range p.Installed {
		if chosen[in.ID] == "" {
			return false
		}
	}
	return ok(p.Wants)
}
