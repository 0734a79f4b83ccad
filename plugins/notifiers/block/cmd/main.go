// Command block is the process of the plugin picket/block.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/block"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
