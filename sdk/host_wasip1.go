package sdk

// processOnly is empty in a WASM guest, see host_process.go.
type processOnly interface{}
