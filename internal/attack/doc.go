// Package attack holds plugins that try what no plugin may do, and the tests that set them against the plugin host:
// what succeeds in a program with nothing around it must fail in a plugin, while the host and the plugins beside it go
// on with their work. The same program is also a traffic worker with a hole in a parser, which a packet turns against the
// server. docs/threat-model.md has the tables of attacks, and
//
//	go test ./internal/attack -update
//
// writes it.
package attack
