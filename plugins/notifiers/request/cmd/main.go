// Command request is the main of the plugin picket/request.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/request"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
