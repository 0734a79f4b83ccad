// Package usage has the error for a wrong call, which ends the program with code 2. What failed although it was called
// rightly ends with 1.
package usage

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Error is a wrong call.
type Error struct{ text string }

// Errorf makes an Error.
func Errorf(format string, args ...any) error { return &Error{fmt.Sprintf(format, args...)} }

func (e *Error) Error() string { return e.text }

// ExitCode is what the program ends with.
func (e *Error) ExitCode() int { return 2 }

// Captures wants at least one capture file named, and says how to give one by a pipe.
func Captures(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return Errorf("name at least one capture file, or - for standard input: %s FILE", cmd.CommandPath())
	}
	return nil
}

// Group makes a command that only holds others: alone it prints its help, and of a word that it does not know it says
// which one may be meant.
func Group(cmd *cobra.Command) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.SuggestionsMinimumDistance = 2 // cobra's own default is set only where it looks itself
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		hint := "`" + cmd.CommandPath() + " --help` lists what there is"
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = "did you mean " + strings.Join(near, " or ") + "?"
		}
		return Errorf("%q is no command of %s: %s", args[0], cmd.CommandPath(), hint)
	}
	return cmd
}

// Together refuses flags that only make sense beside one another.
func Together(cmd *cobra.Command, flags ...string) error {
	var given, missing []string
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			given = append(given, "--"+name)
		} else {
			missing = append(missing, "--"+name)
		}
	}
	if len(given) == 0 || len(missing) == 0 {
		return nil
	}
	return Errorf("%s needs %s too", strings.Join(given, " and "), strings.Join(missing, " and "))
}
