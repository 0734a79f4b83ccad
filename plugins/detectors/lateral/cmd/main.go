// Command lateral serves the plugin picket/lateral, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/lateral"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
