// Package ot has the words that the parsers of machines share, so that a detector can ask what was done to a controller
// without knowing each protocol.
package ot

import "strings"

// Action is what a message does, or asks the other side to do.
type Action string

// The actions. A message that fits none has Other.
const (
	Other    Action = ""
	Discover Action = "discover" // who is there, what it is
	Connect  Action = "connect"  // opens or closes a session
	Read     Action = "read"
	Write    Action = "write"   // values, parameters, the clock
	Operate  Action = "operate" // a command to the process: a breaker, a set point
	Program  Action = "program" // code or configuration goes in or out, files do too
	Start    Action = "start"   // of a controller or a program in it
	Stop     Action = "stop"    // of a controller, a program or its communication
	Restart  Action = "restart"
)

// Text makes bytes of the wire into text without the zeros and blanks that fill fields up.
func Text(b []byte) string {
	return strings.ToValidUTF8(strings.Trim(string(b), "\x00 "), "\ufffd")
}
