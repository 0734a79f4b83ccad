// Command influxdb is the main of the plugin picket/influxdb.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/influxdb"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
