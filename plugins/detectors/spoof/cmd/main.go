// Command spoof serves the plugin picket/spoof, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/spoof"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
