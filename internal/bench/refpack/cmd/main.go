// Command refpack serves the reference pack of the benchmarks.
package main

import (
	_ "github.com/picketwatch/picket/internal/bench/refpack"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
