// Command web-attack is the detector of attacks on web applications, as a plugin.
package main

import (
	_ "github.com/picketwatch/picket/plugins/detectors/webattack"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
