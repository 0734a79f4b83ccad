// Command syslog is the process of the plugin picket/syslog.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/syslog"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
