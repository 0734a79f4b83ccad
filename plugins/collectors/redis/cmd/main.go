// Command redis is the process of the plugin picket/redis.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/redis"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
