// Command postgres is the process of the plugin picket/postgres.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/postgres"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
