// Command pagerduty is the main of the plugin picket/pagerduty.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/pagerduty"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
