// Command ups is the process of the plugin picket/ups.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/ups"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
