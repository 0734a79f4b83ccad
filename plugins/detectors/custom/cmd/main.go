// Command custom serves the plugin picket/custom-rules, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/custom"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
