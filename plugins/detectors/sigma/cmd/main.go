// Command sigma serves the plugin picket/sigma, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/sigma"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
