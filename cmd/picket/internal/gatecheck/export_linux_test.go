package gatecheck

import "github.com/spf13/cobra"

// Confine has the tests know `picket plugin`, which imports this package.
func Confine(cmd func() *cobra.Command) { confine = cmd }
