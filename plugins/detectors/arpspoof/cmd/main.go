// Command arpspoof serves the plugin picket/arpspoof, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/arpspoof"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
