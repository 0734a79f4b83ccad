// Command policy serves the plugin picket/policy, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/policy"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
