// Command host is the process of the plugin picket/host.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/host"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
