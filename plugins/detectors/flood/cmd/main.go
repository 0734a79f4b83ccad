// Command flood serves the plugin picket/flood, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/flood"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
