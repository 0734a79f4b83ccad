// Package snake writes Go names as fields are written outside of Go.
package snake

import (
	"strings"
	"unicode"
)

// Case writes ServerName as server_name, EDNSSize as edns_size, ALPNs as alpns, QType as qtype: a single letter at the front is
// no word.
func Case(name string) string {
	var b strings.Builder
	letters := []rune(name)
	for i, c := range letters {
		if unicode.IsUpper(c) && (i > 1 || i == 1 && unicode.IsLower(letters[0])) && begins(letters[i-1], letters[i:]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// begins reports whether the capital that rest begins with begins a word, coming after before.
func begins(before rune, rest []rune) bool {
	plural := len(rest) == 2 && rest[1] == 's' // the last capital of a name such as ALPNs
	return unicode.IsLower(before) || unicode.IsUpper(before) && len(rest) > 1 && unicode.IsLower(rest[1]) && !plural
}
