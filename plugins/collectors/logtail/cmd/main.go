// Command logtail is the process of the plugin picket/logtail.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/logtail"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
