// Command ticket is the process of the plugin picket/ticket.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/ticket"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
