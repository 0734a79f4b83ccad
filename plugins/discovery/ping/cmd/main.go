// Command ping is the process of the plugin picket/ping.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/ping"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
