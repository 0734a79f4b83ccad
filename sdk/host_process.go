//go:build !wasip1

package sdk

import "net/http"

// processOnly is the part of Host that a WASM guest does not have: package net/http alone would make each guest a third
// larger. A plugin that needs it is built for the runtime process only.
type processOnly interface {
	// HTTP returns a client whose connections go through Dial.
	HTTP() *http.Client
}
