package plugincmd

import "github.com/spf13/cobra"

// testReleaseCmd is what the gates run, in namespaces that they make: see package gatecheck.
func testReleaseCmd() *cobra.Command {
	return &cobra.Command{
		Use:    "test-release RELEASE",
		Short:  "Confine this process and run the conformance kit over a release of somebody else's",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE:   func(_ *cobra.Command, args []string) error { return confineAndTest(args[0]) },
	}
}
