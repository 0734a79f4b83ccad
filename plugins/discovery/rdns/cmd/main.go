// Command rdns is the process of the plugin picket/rdns.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/rdns"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
