// Command tls serves the plugin picket/tls, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/tls"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
