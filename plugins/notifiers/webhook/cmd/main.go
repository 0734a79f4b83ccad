// Command webhook is the process of the plugin picket/webhook.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/webhook"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
