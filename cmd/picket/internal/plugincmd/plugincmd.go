// Package plugincmd is `picket plugin`: an author makes, builds and publishes plugins with it, an operator verifies,
// installs and explains them.
package plugincmd

import (
	"github.com/spf13/cobra"
)

// New returns the command with its sub-commands.
func New() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugin",
		Short: "Make, build, publish, verify and install plugins",
	}
	cmd.AddGroup(&cobra.Group{ID: "author", Title: "For authors:"}, &cobra.Group{ID: "operator", Title: "For operators:"})
	for _, c := range []*cobra.Command{newCmd(), buildCmd(), runCmd(), testCmd(), replayCmd(), packCmd(), publishCmd()} {
		c.GroupID = "author"
		cmd.AddCommand(c)
	}
	for _, c := range []*cobra.Command{listCmd(), verifyCmd(), installCmd(), explainCmd()} {
		c.GroupID = "operator"
		cmd.AddCommand(c)
	}
	cmd.AddCommand(rebuildCmd(), testReleaseCmd())
	return cmd
}

// require marks flags as needed.
func require(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag that was not declared: a mistake in this file, seen at the first run
		}
	}
}
