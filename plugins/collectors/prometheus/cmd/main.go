// Command prometheus is the process of the plugin picket/prometheus.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/prometheus"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
