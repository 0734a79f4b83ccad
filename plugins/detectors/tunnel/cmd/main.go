// Command tunnel serves the plugin picket/tunnel, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/tunnel"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
