package plugincmd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/spf13/cobra"
)

func testCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "test DIR...",
		Short: "Run a plugin's tests: the conformance suite and its case folders",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, dirs []string) error {
			b := &builder{out: os.TempDir()}
			for _, dir := range dirs {
				p, err := b.readOne(dir)
				if err != nil {
					return err
				}
				run := exec.CommandContext(cmd.Context(), "go", "test", "./...")
				run.Dir, run.Stdout, run.Stderr = p.src, cmd.OutOrStdout(), cmd.ErrOrStderr()
				// Case folders are read by this very program, the engine that production uses.
				if self, err := os.Executable(); err == nil && os.Getenv("PICKET_BIN") == "" {
					run.Env = append(os.Environ(), "PICKET_BIN="+self)
				}
				var exit *exec.ExitError
				if err := run.Run(); errors.As(err, &exit) {
					return fmt.Errorf("the tests of %s failed", p.manifest.ID)
				} else if err != nil {
					return fmt.Errorf("run the tests of %s: %w", p.manifest.ID, err)
				}
			}
			return nil
		},
	}
}
