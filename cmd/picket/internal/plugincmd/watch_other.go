//go:build !linux

package plugincmd

import (
	"os/exec"

	"github.com/picketwatch/picket/sdk/kit"
)

// watchWith watches nothing: the broker needs Linux.
func watchWith(string, map[string]string) func(cmd *exec.Cmd) (kit.Watcher, error) { return nil }
