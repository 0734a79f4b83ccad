package process

import "strings"

const maxName = 64

// tell is the name that a process is listed by. The kernel's workers say behind a slash what they do just now.
func tell(name string) string {
	if strings.HasPrefix(name, "kworker/") {
		return "kworker"
	}
	return name
}

// clean makes a name, which a program can choose freely, short and printable.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
	if len(name) > maxName {
		name = strings.ToValidUTF8(name[:maxName], "")
	}
	return strings.TrimSpace(name)
}
