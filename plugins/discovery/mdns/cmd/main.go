// Command mdns is the process of the plugin picket/mdns.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/mdns"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
