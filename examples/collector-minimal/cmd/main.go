// Command file-age serves the plugin acme/file-age.
package main

import (
	_ "example.com/acme/file-age"

	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
