// Command ntfy is the main of the plugin picket/ntfy.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/ntfy"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
