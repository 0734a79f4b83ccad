// Command dnssecurity serves the plugin picket/dnssecurity, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/dnssecurity"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
