// Command exfil serves the plugin picket/exfil, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/exfil"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
