// Package rustsdk has no code: its tests build a guest with the Rust SDK and compare it with the same plugin in Go.
package rustsdk
