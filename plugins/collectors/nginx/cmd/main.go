// Command nginx is the process of the plugin picket/nginx.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/nginx"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
