// Command probe is the process of the plugin picket/probe.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/probe"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
