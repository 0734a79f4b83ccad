// Command snmp is the process of the plugin picket/snmp-devices.
package main

import (
	_ "github.com/picketwatch/picket/plugins/discovery/snmp"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
