// Command bruteforce serves the plugin picket/bruteforce, as a process or as a WASM guest.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/bruteforce"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
