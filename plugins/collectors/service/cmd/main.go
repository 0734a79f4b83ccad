// Command service is the process of the plugin picket/service.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/service"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
