package registry

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// A namespace must not be taken for another one. Whoever reads `picket1/ssh` or `acrne/ssh` on a card trusts the wrong
// people, so a name that looks or is typed like one that exists is refused when somebody claims it; afterwards it is
// too late.

// reservedNames would be taken for the project, for a role of the registry, or for a word with a meaning elsewhere.
var reservedNames = []string{
	"picket", "picketwatch", "picketd", "official", "security", "claimed", "recent", "revokers", "root", "targets", "snapshot",
	"timestamp", "maintainer", "maintainers", "registry", "plugin", "plugins", "release", "releases", "metadata", "store",
	"admin", "administrator", "system", "kernel", "core", "internal", "local", "localhost", "private", "public", "support",
	"staff", "team", "verified", "trusted", "test", "tests", "testing", "probe", "example", "examples", "sample", "any", "all", "none",
	"null", "nil", "undefined", "true", "false", "self", "www", "api", "ftp", "mail", "con", "prn", "aux", "nul", "com1", "com2",
	"com3", "com4", "lpt1", "lpt2", "lpt3", "lpt4", "xn",
}

// firstParty are the names of the project: nothing may come near them.
var firstParty = []string{"picket", "picketwatch"}

const (
	minNamespace = 3
	maxNamespace = 39
)

// CheckNamespace reports why nobody may claim a namespace. taken are the namespaces that exist, products the names of
// the project's own plugins.
func CheckNamespace(name string, taken, products []string) error {
	if err := checkNamespaceSpelling(name); err != nil {
		return fmt.Errorf("namespace %q: %w", name, err)
	}
	if slices.Contains(reservedNames, name) {
		return fmt.Errorf("namespace %q is reserved", name)
	}
	for _, own := range firstParty {
		if slices.Contains(strings.Split(name, "-"), own) || lookAlike(name, own) {
			return fmt.Errorf("namespace %q would be taken for the project's own %q", name, own)
		}
	}
	for _, other := range taken {
		if name == other {
			return fmt.Errorf("namespace %q is taken", name)
		}
		if lookAlike(name, other) {
			return fmt.Errorf("namespace %q would be taken for %q, which exists: the names look alike or one slip of a finger apart", name, other)
		}
	}
	for _, product := range products {
		near := skeleton(name) == skeleton(product) || len(product) > 4 && lookAlike(name, product)
		if near {
			return fmt.Errorf("namespace %q would be taken for the project's plugin %q", name, product)
		}
	}
	return nil
}

// checkNamespaceSpelling says what is wrong in the words that help whoever typed it.
func checkNamespaceSpelling(name string) error {
	for _, r := range name {
		if r > unicode.MaxASCII {
			return fmt.Errorf("the character %q (%U) can look like another one; only a-z, 0-9 and single dashes are allowed", r, r)
		}
	}
	switch {
	case len(name) < minNamespace || len(name) > maxNamespace:
		return fmt.Errorf("its length must be between %d and %d", minNamespace, maxNamespace)
	case strings.ToLower(name) != name:
		return fmt.Errorf("capitals are not told apart everywhere; write %q", strings.ToLower(name))
	case strings.HasPrefix(name, ".") || strings.HasSuffix(name, "."):
		return fmt.Errorf("a dot at the beginning or the end is easily overlooked; dots are not allowed")
	case strings.HasPrefix(name, "xn--"):
		return fmt.Errorf("xn-- is how other alphabets hide (punycode)")
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-") || strings.Contains(name, "--"):
		return fmt.Errorf("dashes stand between letters, one at a time")
	}
	for i := range len(name) {
		c := name[i]
		if c >= 'a' && c <= 'z' || i > 0 && (c >= '0' && c <= '9' || c == '-') {
			continue
		}
		return fmt.Errorf("the character %q is not allowed there; a letter comes first, then a-z, 0-9 and single dashes", c)
	}
	return nil
}

// LookAlike reports whether one of two different names could be taken for the other.
func LookAlike(a, b string) bool { return a != b && lookAlike(a, b) }

// lookAlike reports whether two names look the same or are one slip of a finger apart.
func lookAlike(a, b string) bool {
	return skeleton(a) == skeleton(b) || slip(a, b) || slip(skeleton(a), skeleton(b))
}

// skeleton replaces what looks alike in common typefaces by one of its kind.
func skeleton(name string) string { return oneOfAKind.Replace(name) }

var oneOfAKind = strings.NewReplacer("-", "", "rn", "m", "vv", "w", "cl", "d", "0", "o", "1", "l", "i", "l", "j", "l", "5", "s", "2", "z", "8", "b",
	"6", "b", "9", "g", "q", "g", "u", "v")

// slip reports whether one letter added, left out, replaced or swapped with its neighbour makes a into b.
func slip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if a == b || len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	if a[i+1:] == b[i+1:] {
		return true
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}
