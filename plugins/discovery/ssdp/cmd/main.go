// Command ssdp is the process of the plugin picket/ssdp.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/ssdp"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
