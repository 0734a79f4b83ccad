// Command botnet serves the plugin picket/botnet, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/botnet"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
