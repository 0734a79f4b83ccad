// Package serve is what the main of a plugin calls:
//
//	func init() { sdk.Register(...) }
//	func main() { serve.Main() }
//
// In a process, Main serves all registered plugins to the host that started it. Built with GOOS=wasip1 GOARCH=wasm
// -buildmode=c-shared the same source is a WASM guest: Main does nothing there (a reactor's main is never run), and
// linking this package exports what the guest's runner calls.
package serve
