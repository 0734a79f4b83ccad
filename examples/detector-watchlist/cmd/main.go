// Command watched serves the plugin acme/watched.
package main

import (
	_ "example.com/acme/watched"

	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
