// Command refdetector is the plugin that the benchmarks of the record plane run, as a process and as a WASM guest.
package main

import (
	"github.com/picketwatch/picket/internal/bench/refdetector/detectors"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

func init() {
	for _, p := range detectors.Plugins() {
		sdk.Register(p)
	}
}

func main() { serve.Main() }
