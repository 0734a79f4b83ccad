// Command gpu is the process of the plugin picket/gpu.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/gpu"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
