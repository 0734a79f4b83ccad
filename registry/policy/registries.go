package policy

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
)

// Registry is one that the node's owner puts beside the first one, which the server or the build names.
type Registry struct {
	Name string `json:"name"` // a short word of the owner's, which stands in plugins.lock; default none, it must be there
	URL  string `json:"url"`  // where it is: http(s)://host/path, file:///path or a folder; default none, it must be there
	// Root is the root of trust: the path of a root.json, or sha256: and its digest. Default none, it must be there.
	Root string `json:"root"`
	// Namespaces are patterns such as corp or corp-*: what they cover this registry alone may offer on this node, and it
	// offers nothing else. Default none: it offers whatever nobody before it does.
	Namespaces []string `json:"namespaces"`
	// Priority says who is asked first about a namespace that nobody has yet: the highest. The first registry has 0. Default 1.
	Priority *int `json:"priority"`
}

// Order is the priority, 1 when none was written.
func (r Registry) Order() int {
	if r.Priority == nil {
		return 1
	}
	return *r.Priority
}

// RootSHA256 returns the digest that Root holds, "" when it is a path.
func (r Registry) RootSHA256() string {
	digest, ok := strings.CutPrefix(r.Root, "sha256:")
	if !ok {
		return ""
	}
	return digest
}

// Covers reports whether a namespace is pinned to this registry.
func (r Registry) Covers(namespace string) bool {
	return slices.ContainsFunc(r.Namespaces, func(pattern string) bool {
		prefix, wild := strings.CutSuffix(pattern, "*")
		return pattern == namespace || wild && strings.HasPrefix(namespace, prefix)
	})
}

// Staleness is how old a node's knowledge of a registry may become. Zero means that age does not matter. It never stops
// what runs.
type Staleness struct {
	Warn   time.Duration // from then on pages and commands say so
	Refuse time.Duration // from then on nothing new is installed
}

const maxRegistries = 16

func checkRegistries(list []Registry) error {
	if len(list) > maxRegistries {
		return fmt.Errorf("registries: more than %d", maxRegistries)
	}
	for i, r := range list {
		if err := r.check(); err != nil {
			return fmt.Errorf("registries[%d]: %w", i, err)
		}
		if slices.ContainsFunc(list[:i], func(o Registry) bool { return o.Name == r.Name }) {
			return fmt.Errorf("registries[%d]: the name %q appears twice", i, r.Name)
		}
		for _, o := range list[:i] {
			for _, pattern := range r.Namespaces {
				if o.Covers(strings.TrimSuffix(pattern, "*")) || slices.Contains(o.Namespaces, pattern) {
					return fmt.Errorf("registries[%d]: %s is pinned to %q already", i, pattern, o.Name)
				}
			}
		}
	}
	return nil
}

func (r Registry) check() error {
	if !sdk.ValidID(r.Name + "/x") {
		return fmt.Errorf("name: %q is not a word of a-z, 0-9 and dashes", r.Name)
	}
	if u, err := url.Parse(r.URL); r.URL == "" || err != nil || u.Scheme == "" && !path.IsAbs(r.URL) {
		return fmt.Errorf("url: %q is not http(s)://host/path, file:///path or an absolute folder", r.URL)
	}
	digest := r.RootSHA256()
	switch {
	case strings.HasPrefix(r.Root, "sha256:") && !registry.ValidDigest(digest):
		return errors.New("root: sha256: is followed by 64 lower-case hexadecimal digits")
	case digest == "" && !path.IsAbs(r.Root):
		return fmt.Errorf("root: %q is not sha256:DIGEST or the absolute path of a root.json", r.Root)
	}
	for _, pattern := range r.Namespaces {
		prefix, wild := strings.CutSuffix(pattern, "*")
		if wild && (len(prefix) < 3 || !sdk.ValidID(prefix+"x/x")) || !wild && !sdk.ValidID(pattern+"/x") {
			return fmt.Errorf("namespaces: %q is not a namespace, or three letters or more of one and a *", pattern)
		}
	}
	if r.Namespaces != nil && len(r.Namespaces) == 0 {
		return errors.New("namespaces: an empty list would offer nothing; name some or leave the key out")
	}
	return nil
}

// staleness is how the file says it: {warn: 7d, refuse: 30d}.
type staleness struct {
	Warn   string `json:"warn"`   // age of what is known of a registry from which on pages and commands say so; default 7d
	Refuse string `json:"refuse"` // age from which on nothing new is installed; default 30d
}

func (s staleness) parse() (Staleness, error) {
	var out Staleness
	for _, field := range []struct {
		name, text string
		into       *time.Duration
	}{{"warn", s.Warn, &out.Warn}, {"refuse", s.Refuse, &out.Refuse}} {
		if field.text == "" {
			continue
		}
		d, err := parseAge(field.text)
		if err != nil {
			return out, fmt.Errorf("staleness.%s: %w", field.name, err)
		}
		*field.into = d
	}
	if out.Warn > 0 && out.Refuse > 0 && out.Refuse < out.Warn {
		return out, errors.New("staleness: refuse comes before warn")
	}
	return out, nil
}

// maxAge keeps an age far from what overflows.
const maxAge = 3650

// parseAge reads days or hours: 7d, 36h.
func parseAge(s string) (time.Duration, error) {
	unit := time.Hour
	number, ok := strings.CutSuffix(s, "h")
	if days, isDays := strings.CutSuffix(s, "d"); isDays {
		number, unit, ok = days, 24*time.Hour, true
	}
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 1 || n > maxAge {
		return 0, fmt.Errorf("%q is not a number of days or hours such as 7d or 36h", s)
	}
	return time.Duration(n) * unit, nil
}

// Registries are those beside the first one, as the file lists them.
func (c *Ceiling) Registries() []Registry { return slices.Clone(c.registries) }

// Staleness is how old this node's knowledge of a registry may become.
func (c *Ceiling) Staleness() Staleness { return c.staleness }
