// Command anomaly serves the plugin picket/anomaly, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/anomaly"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
