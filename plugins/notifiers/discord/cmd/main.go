// Command discord is the main of the plugin picket/discord.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/discord"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
