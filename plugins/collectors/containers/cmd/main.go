// Command containers is the process of the plugin picket/containers.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/containers"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
