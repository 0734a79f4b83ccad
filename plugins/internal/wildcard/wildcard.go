// Package wildcard chooses names by patterns: what goes in are a name and the lists of patterns that an operator set,
// what comes out is whether the name is wanted.
package wildcard

// Allows reports whether name matches one of include, or include is empty, and none of exclude.
func Allows(name string, include, exclude []string) bool {
	return (len(include) == 0 || anyOf(name, include)) && !anyOf(name, exclude)
}

func anyOf(name string, patterns []string) bool {
	for _, p := range patterns {
		if Match(p, name) {
			return true
		}
	}
	return false
}

// Match reports whether the whole name fits the pattern, in which * stands for any run of bytes, a slash included
// (mount points are meant to be matched with all that lies below them), and ? for one byte. Its time is bounded by the
// product of both lengths, whatever the pattern.
func Match(pattern, name string) bool {
	star, retry := -1, 0 // the last * seen, and from where in name it is tried next
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, retry = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p, n = p+1, n+1
		case star >= 0: // let the last * take one byte more
			retry++
			p, n = star+1, retry
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
