// Command openapi writes the description of the HTTP API to web/openapi.json, from which the pages' types are
// generated. It needs no running server: the description comes from the handlers' Go types.
package main

import (
	"fmt"
	"os"

	"github.com/picketwatch/picket/core/kernel/api"
)

const target = "web/openapi.json"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run() error {
	// The version stays out: a release must not change a generated file.
	document, err := api.New(api.Config{Version: "1"}).OpenAPI()
	if err != nil {
		return fmt.Errorf("describe the API: %w", err)
	}
	return os.WriteFile(target, append(document, '\n'), 0o644)
}
