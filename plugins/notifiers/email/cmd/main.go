// Command email is the process of the plugin picket/email.
package main

import (
	_ "github.com/picketwatch/picket/plugins/notifiers/email"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
