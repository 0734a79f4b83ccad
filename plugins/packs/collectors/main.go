// Command collectors serves the collectors of the machine itself in one process: it is the process artifact of each of them.
package main

import (
	_ "github.com/picketwatch/picket/plugins/collectors/host"
	_ "github.com/picketwatch/picket/plugins/collectors/process"
	_ "github.com/picketwatch/picket/plugins/collectors/service"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
