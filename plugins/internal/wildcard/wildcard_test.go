package wildcard

import (
	"path"
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"eth0", "eth0", true},
		{"eth0", "eth01", false},
		{"veth*", "veth12ab", true},
		{"veth*", "eth0", false},
		{"*", "", true},
		{"", "", true},
		{"", "x", false},
		{"sd?", "sda", true},
		{"sd?", "sda1", false},
		{"/var/lib/docker/*", "/var/lib/docker/overlay2/x/merged", true},
		{"*/merged", "/var/lib/docker/overlay2/x/merged", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*b*c", "a-b-b", false},
		{"**x", "x", true},
	} {
		if got := Match(c.pattern, c.name); got != c.want {
			t.Errorf("Match(%q, %q) = %v", c.pattern, c.name, got)
		}
	}
}

func TestAllows(t *testing.T) {
	for _, c := range []struct {
		what             string
		include, exclude []string
		want             bool
	}{
		{"no lists", nil, nil, true},
		{"included", []string{"eth*"}, nil, true},
		{"not included", []string{"wlan*"}, nil, false},
		{"excluded", nil, []string{"eth0"}, false},
		{"exclusion wins", []string{"eth0"}, []string{"eth*"}, false},
	} {
		if got := Allows("eth0", c.include, c.exclude); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

// On names without slashes and patterns without brackets, the standard library is the oracle.
func FuzzMatch(f *testing.F) {
	f.Add("a*b?c", "aXbYc")
	f.Add("***a", "aaaa")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := Match(pattern, name)
		if strings.ContainsAny(pattern+name, `/[]\`) || !isASCII(pattern+name) {
			return
		}
		if want, err := path.Match(pattern, name); err == nil && got != want {
			t.Errorf("Match(%q, %q) = %v, path.Match says %v", pattern, name, got, want)
		}
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}
