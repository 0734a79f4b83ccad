package custom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is what is wrong with a rule, and where.
type Problem struct {
	File         string
	Line, Column int
	Rule         string // its id, "" where that is not known
	Text         string
}

func (p Problem) String() string {
	at := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Rule != "" {
		at += "rule " + p.Rule + ": "
	}
	return at + p.Text
}

// told joins problems, a line each, the first ones if there are many.
func told(list []Problem) string {
	const most = 50
	lines := make([]string, 0, min(len(list), most)+1)
	for _, p := range list[:min(len(list), most)] {
		lines = append(lines, p.String())
	}
	if len(list) > most {
		lines = append(lines, fmt.Sprintf("and %d more", len(list)-most))
	}
	return strings.Join(lines, "\n")
}

// meant returns words that say which of the names may be meant, "" when none is near.
func meant(name string, names []string) string {
	best, distance := "", 1+max(1, len(name)/3)
	for _, n := range slices.SortedFunc(slices.Values(names), cmp.Compare) {
		if d := apart(name, n); d < distance {
			best, distance = n, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// apart is how many letters must be changed, added or left out to make one word the other (Levenshtein).
func apart(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0]++
		for j := range len(b) {
			change := last
			if a[i] != b[j] {
				change++
			}
			last, row[j+1] = row[j+1], min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
