package facts

import (
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
)

// is compares the name of a field with one in lower case.
func is(name, lower string) bool { return len(name) == len(lower) && strings.EqualFold(name, lower) }

// appendFields appends "Name: value" of each field, within the limits, all cut out of one string.
func appendFields(dst []string, fields []app.Field) []string {
	size, count := 0, 0
	for _, h := range fields {
		n := len(cut(h.Name)) + len(cut(h.Value)) + len(": ")
		if size+n > maxHeads || count == maxList {
			break
		}
		size += n
		count++
	}
	var all strings.Builder
	all.Grow(size)
	for _, h := range fields[:count] {
		at := all.Len()
		all.WriteString(cut(h.Name))
		all.WriteString(": ")
		switch {
		case secretField(h.Name):
		case is(h.Name, "host"), is(h.Name, ":authority"):
			all.WriteString(shownHost(h.Value))
		default:
			all.WriteString(shown(h.Value))
		}
		dst = append(dst, all.String()[at:])
	}
	return dst
}
