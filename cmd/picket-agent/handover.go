package main

import (
	"fmt"
	"os"
	"strings"
)

// exitCode ends the program with a code and no word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func cutVariable(v string) (name, value string, found bool) { return strings.Cut(v, "=") }

// argumentsWithout are this program's, without one flag and its value.
func argumentsWithout(flag string) []string {
	var out []string
	for i := 1; i < len(os.Args); i++ {
		switch a := os.Args[i]; {
		case a == flag:
			i++
		case strings.HasPrefix(a, flag+"="):
		default:
			out = append(out, a)
		}
	}
	return out
}
