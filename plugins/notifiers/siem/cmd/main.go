// Command siem is the main of the plugin picket/siem.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/siem"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
