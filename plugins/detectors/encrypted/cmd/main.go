// Command encrypted serves the plugin picket/encrypted, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/encrypted"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
