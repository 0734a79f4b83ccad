// Command teams is the main of the plugin picket/teams.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/teams"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
