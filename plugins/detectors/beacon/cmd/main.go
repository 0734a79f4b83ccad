// Command beacon serves the plugin picket/beacon, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/beacon"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
