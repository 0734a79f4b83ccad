package fleetcmd

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var quoted = regexp.MustCompile(`'[^']*'|\S+`)

// Each line that the page shows is a command that there is, with flags and arguments that it takes.
func TestThePageSaysWhatIsThere(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(page)) {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "$ picket ")
		if !ok {
			continue
		}
		lines++
		text, _, _ = strings.Cut(text, " > ")
		words := quoted.FindAllString(text, -1)
		for i := range words {
			words[i] = strings.Trim(words[i], "'")
		}
		root := &cobra.Command{Use: "picket"}
		root.AddCommand(New(), Agent(), Group(), Config())
		cmd, args, err := root.Find(words)
		if err == nil {
			err = cmd.ParseFlags(args)
		}
		if err == nil {
			err = cmd.ValidateArgs(cmd.Flags().Args())
		}
		if err != nil || !cmd.Runnable() {
			t.Errorf("%s: %v", text, err)
		}
	}
	if lines < 10 {
		t.Errorf("the page shows %d commands", lines)
	}
}
