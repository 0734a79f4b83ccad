// Command cmd is package echo as a plugin.
package main

import (
	"github.com/picketwatch/picket/internal/traffic/golden/echo"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/serve"
)

func init() {
	sdk.Register(echo.Plugin())
	sdk.Register(echo.Facts())
}

func main() { serve.Main() }
