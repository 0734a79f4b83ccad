// Command portscan serves the plugin picket/portscan, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/portscan"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
