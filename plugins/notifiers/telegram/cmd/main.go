// Command telegram is the main of the plugin picket/telegram.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/telegram"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
