package plugincmd

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/registry"
)

// testReleaseCmd is what the gates run, in namespaces that they make: see package gatecheck.
func testReleaseCmd() *cobra.Command {
	var capture, runtimeName string
	cmd := &cobra.Command{
		Use:    "test-release [--capture FILE] RELEASE",
		Short:  "Confine this process and run the conformance kit over a release of somebody else's, or show it a capture",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			release, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			if capture == "" {
				return confined([]string{release}, "plugin", "test", "--json", release)
			}
			return confined([]string{release, capture}, "plugin", "replay", "--json", "--runtime", runtimeName, "--dir", release, capture)
		},
	}
	cmd.Flags().StringVar(&capture, "capture", "", "the capture to show a detector")
	cmd.Flags().StringVar(&runtimeName, "runtime", registry.RuntimeProcess, "as what it is shown the capture")
	return cmd
}
