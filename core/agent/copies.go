package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/sdk"
)

// maxJudged bounds the captures whose traffic is judged: each one more is another process of every detector.
const maxJudged = 4

const maxInstance = 128 // bytes of the name of an instance

// copies are the instances that judge the captures behind the first one. An instance knows one network: two with the same
// addresses would look like one in which hosts take each other's. So each capture has an instance of its own of everything that
// judges traffic, with the same settings, grants and limits, under the name of the one that was assigned and of the interface.
type copies struct {
	suffixes []string // by capture, "" for the first
	of       map[string]copied
}

// copied says what an instance is a copy of.
type copied struct {
	instance string
	capture  int
}

// copiesFor names the copies for captures.
func copiesFor(captures []Capture) copies {
	c := copies{of: map[string]copied{}}
	for i := range min(len(captures), maxJudged) {
		suffix := ""
		if i > 0 {
			suffix = "//" + strings.Map(instanceRune, captures[i].Interface)
		}
		for n := 2; slices.Contains(c.suffixes, suffix); n++ { // another filter, or a name that is like another
			suffix = fmt.Sprintf("//%s:%d", strings.Map(instanceRune, captures[i].Interface), n)
		}
		c.suffixes = append(c.suffixes, suffix)
	}
	return c
}

// instanceRune is a rune that the name of an instance may have. Names of interfaces may have any.
func instanceRune(r rune) rune {
	if r < 128 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@:-", r)) {
		return r
	}
	return '-'
}

// spread adds the copies to what was assigned, and returns which they are.
func (c copies) spread(list []pluginhost.Assignment) ([]pluginhost.Assignment, copies) {
	next := copies{suffixes: c.suffixes, of: map[string]copied{}}
	out := slices.Clone(list)
	for i, suffix := range c.suffixes {
		for _, a := range list {
			if i == 0 || !judges(a) {
				continue
			}
			another := a
			another.Instance += suffix
			if len(another.Instance) > maxInstance || slices.ContainsFunc(list, func(b pluginhost.Assignment) bool { return b.Instance == another.Instance }) {
				continue
			}
			next.of[another.Instance] = copied{a.Instance, i}
			out = append(out, another)
		}
	}
	return out, next
}

// judges reports whether an instance was granted anything of what a capture holds.
func judges(a pluginhost.Assignment) bool {
	return slices.ContainsFunc(a.Grants, func(p sdk.Permission) bool {
		return p.Cap == sdk.CapFlowsRead || p.Cap == sdk.CapPacketsRead || p.Cap == sdk.CapFactsRead || p.Cap == sdk.CapFilesRead
	})
}

// copy reports what an instance is a copy of, if it is one.
func (p *plugins) copy(instance string) (copied, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	x, ok := p.copies.of[instance]
	return x, ok
}

// judgesOf returns those that judge a capture.
func judgesOf[T interface{ Instance() string }](p *plugins, capture int, list []T) []T {
	return slices.DeleteFunc(list, func(v T) bool {
		x, _ := p.copy(v.Instance())
		return x.capture != capture
	})
}

// assigned returns those that the server assigned.
func assigned[T interface{ Instance() string }](p *plugins, list []T) []T {
	return judgesOf(p, 0, list)
}

// states returns how what was assigned is. A copy that is not as it should be shows in that of its original: the server knows no other.
func (p *plugins) states(list []pluginhost.Status) []pluginhost.Status {
	at := map[string]int{}
	var out []pluginhost.Status
	for _, s := range list {
		if _, ok := p.copy(s.Instance); !ok {
			at[s.Instance] = len(out)
			out = append(out, s)
		}
	}
	for _, s := range list {
		x, ok := p.copy(s.Instance)
		if i, known := at[x.instance]; ok && known && s.State != pluginhost.Ready && out[i].State == pluginhost.Ready {
			out[i].State, out[i].Reason, out[i].Refusal = s.State, fmt.Sprintf("%s: %s", s.Instance, s.Reason), s.Refusal
		}
	}
	return out
}

// restart starts an instance anew, and all its copies.
func (p *plugins) restart(ctx context.Context, instance string) error {
	err := p.host.Restart(ctx, instance)
	p.mu.Lock()
	var also []string
	for name, x := range p.copies.of {
		if x.instance == instance {
			also = append(also, name)
		}
	}
	p.mu.Unlock()
	for _, name := range also {
		err = errors.Join(err, p.host.Restart(ctx, name))
	}
	return err
}
