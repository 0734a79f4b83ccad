// Command ot serves the plugin picket/ot, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/ot"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
