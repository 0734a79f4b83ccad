package sigma

import "regexp/syntax"

// maxRequired is how many texts a search for an expression begins with at most.
const maxRequired = 64

// required are texts of which each match of an expression holds one, letters in any case; none when there are no such.
func required(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r >= 0x80 && re.Flags&syntax.FoldCase != 0 {
				return nil // other cases of it are other bytes
			}
		}
		return []string{string(re.Rune)}
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if got := required(sub); better(got, best) {
				best = got
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			got := required(sub)
			if got == nil || len(all)+len(got) > maxRequired {
				return nil
			}
			all = append(all, got...)
		}
		return all
	}
	return nil
}

// better reports whether texts are rarer than others: the shortest of them is longer.
func better(got, than []string) bool { return shortest(got) > shortest(than) }

func shortest(list []string) int {
	if len(list) == 0 {
		return 0
	}
	n := len(list[0])
	for _, s := range list {
		n = min(n, len(s))
	}
	return n
}
