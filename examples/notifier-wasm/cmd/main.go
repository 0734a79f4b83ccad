// Command main is the guest. Its main never runs: the host calls what the SDK exports.
package main

import (
	_ "example.com/acme/ntfy"
	"github.com/picketwatch/picket/sdk/serve"
)

func main() { serve.Main() }
