package gates

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// spdxList are the licence and exception identifiers of SPDX, as CycloneDX's schema of release 1.7 lists them.
//
//go:embed spdx.txt
var spdxList string

var spdxIDs = func() map[string]bool {
	ids := map[string]bool{}
	for _, id := range strings.Fields(spdxList) {
		ids[strings.ToLower(id)] = true
	}
	return ids
}()

// licence wants the manifest's licence to be an SPDX expression, and says which licences the dependencies have where
// that can be known.
func (c *check) licence(ctx context.Context, f *finding) {
	m := &c.Descriptor.Manifest
	if err := checkSPDX(m.License); err != nil {
		f.failf("licence %q: %v", m.License, err)
		return
	}
	f.sumf("%s", m.License)
	if m.Data != nil {
		if err := checkSPDX(m.Data.License); err != nil {
			f.failf("licence of the content %q: %v", m.Data.License, err)
		}
	}
	if m.IsFile() {
		return
	}
	c.licencesOfDependencies(ctx, f)
}

func (c *check) licencesOfDependencies(ctx context.Context, f *finding) {
	b := c.parts(ctx)
	if !b.whole() {
		f.lackf("%s; the licences of what it was built from are not known", m1(c.Descriptor.Manifest.License))
		return
	}
	var unknown []string
	found := map[string]int{}
	for _, p := range b.parts {
		if p.own() {
			continue
		}
		switch p.License {
		case "":
			unknown = append(unknown, p.Name)
		default:
			found[p.License]++
			if copyleft(p.License) && !copyleft(c.Descriptor.Manifest.License) {
				f.warnf("%s is under %s, the release under %s", p.Name, p.License, c.Descriptor.Manifest.License)
			}
		}
	}
	names := make([]string, 0, len(found))
	for name, n := range found {
		names = append(names, fmt.Sprintf("%s (%d)", name, n))
	}
	slices.Sort(names)
	if len(names) > 0 {
		f.notef("dependencies: %s", strings.Join(names, ", "))
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		f.lackf("%s; not known of %s: %s", m1(c.Descriptor.Manifest.License), plural(len(unknown), "dependency"), strings.Join(unknown[:min(len(unknown), 8)], ", "))
	}
}

func m1(licence string) string { return licence + " is a licence of SPDX" }

func copyleft(licence string) bool {
	return strings.Contains(licence, "GPL") && !strings.Contains(licence, "LGPL")
}

var errSPDX = errors.New("not an expression of SPDX identifiers, such as Apache-2.0 or MIT OR GPL-2.0-or-later (https://spdx.org/licenses)")

// checkSPDX checks an expression: identifiers, AND, OR, WITH, +, and parentheses.
func checkSPDX(expression string) error {
	if len(expression) > 200 {
		return errSPDX
	}
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression))
	p := &spdx{words: words}
	p.expression(0)
	if p.bad != "" {
		return fmt.Errorf("%q is %w", p.bad, errSPDX)
	}
	if len(p.words) > 0 || len(words) == 0 {
		return errSPDX
	}
	return nil
}

type spdx struct {
	words []string
	bad   string
}

func (p *spdx) next() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *spdx) take() string {
	word := p.next()
	if len(p.words) > 0 {
		p.words = p.words[1:]
	}
	return word
}

func (p *spdx) fail(word string) {
	if p.bad == "" {
		p.bad = word
		if word == "" {
			p.bad = "the end"
		}
	}
	p.words = nil
}

func (p *spdx) expression(depth int) {
	if depth > 10 {
		p.fail("(")
		return
	}
	for p.bad == "" {
		if p.next() == "(" {
			p.take()
			p.expression(depth + 1)
			if p.take() != ")" {
				p.fail(")")
			}
		} else {
			p.simple()
		}
		switch strings.ToUpper(p.next()) {
		case "AND", "OR":
			p.take()
		default:
			return
		}
	}
}

func (p *spdx) simple() {
	word := p.take()
	id := strings.TrimSuffix(word, "+")
	if !spdxIDs[strings.ToLower(id)] && !validRef(id) {
		p.fail(word)
		return
	}
	if strings.EqualFold(p.next(), "WITH") {
		p.take()
		if exception := p.take(); !spdxIDs[strings.ToLower(exception)] {
			p.fail(exception)
		}
	}
}

// validRef allows a licence of one's own, whose text is in the README.
func validRef(id string) bool {
	name, ok := strings.CutPrefix(id, "LicenseRef-")
	return ok && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == ""
}
