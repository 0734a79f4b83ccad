// Command ransomware serves the plugin picket/ransomware, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/ransomware"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
