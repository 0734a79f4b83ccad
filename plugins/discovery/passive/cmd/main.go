// Command passive is the process of the plugin picket/passive.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/passive"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
