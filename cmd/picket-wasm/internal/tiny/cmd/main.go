// Command tiny is package tiny as a plugin.
package main

import (
	"github.com/picketwatch/picket/cmd/picket-wasm/internal/tiny"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

func init() { sdk.Register(tiny.Plugin()) }

func main() { serve.Main() }
