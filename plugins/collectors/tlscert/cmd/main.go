// Command tlscert is the process of the plugin picket/tlscert.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/tlscert"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
