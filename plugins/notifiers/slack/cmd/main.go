// Command slack is the main of the plugin picket/slack.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/slack"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
