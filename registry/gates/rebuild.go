package gates

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Rebuilder builds the artifacts of a release again from its source and returns their digests. An error says why it
// could not, which is nobody's fault yet.
type Rebuilder func(ctx context.Context, r Release) (digests []string, err error)

// GoToolchain returns the version of Go that built a release, such as 1.26.8; "" when it does not say, or names several.
func GoToolchain(r Release) string {
	c := &check{Release: r}
	defer c.contents.close()
	found := ""
	for _, p := range c.parts(context.Background()).parts {
		if p.Name != goToolchain {
			continue
		}
		if found != "" && found != p.Version {
			return ""
		}
		found = p.Version
	}
	return found
}

// rebuild compares what the source gives with what was handed in.
func (c *check) rebuild(ctx context.Context, f *finding) {
	if c.cfg.Rebuild == nil {
		f.lackf("this registry does not build releases again")
		return
	}
	digests, err := c.cfg.Rebuild(ctx, c.Release)
	if err == nil && len(digests) == 0 {
		err = errors.New("nothing was built")
	}
	if err != nil {
		f.lackf("not built again: %v", err)
		return
	}
	same := 0
	for _, a := range c.Descriptor.Artifacts {
		if slices.Contains(digests, a.SHA256) {
			same++
			continue
		}
		f.failf("%s: the source gives other bytes than were handed in", label(a))
	}
	f.sumf("%s built again from the source, byte for byte the same", plural(same, "artifact"))
	if s := c.Descriptor.Manifest.Source; s != nil {
		f.notef("%s", fmt.Sprintf("%s at %s", s.Repo, s.Commit))
	}
}
