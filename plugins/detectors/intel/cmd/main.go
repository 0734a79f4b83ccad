// Command intel serves the plugin picket/intel, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/intel"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
