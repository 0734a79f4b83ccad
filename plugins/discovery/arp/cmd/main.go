// Command arp is the process of the plugin picket/arp.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/arp"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
