//go:build !linux

package traffic

import "os"

// terminate ends the worker: it cannot be asked to on this system.
func terminate(p *os.Process) { _ = p.Kill() }
