// Command graphite is the main of the plugin picket/graphite.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/graphite"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
