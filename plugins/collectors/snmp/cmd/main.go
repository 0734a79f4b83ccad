// Command snmp is the process of the plugin picket/snmp.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/snmp"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
