// Command process is the process of the plugin picket/process.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/process"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
