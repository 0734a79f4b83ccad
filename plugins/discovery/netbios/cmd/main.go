// Command netbios is the process of the plugin picket/netbios.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/netbios"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
