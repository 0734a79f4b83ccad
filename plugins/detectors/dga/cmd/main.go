// Command dga serves the plugin picket/dga, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/dga"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
