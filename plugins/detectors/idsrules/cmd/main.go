// Command idsrules serves the plugin picket/ids-rules, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/idsrules"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
