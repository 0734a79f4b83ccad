package wire

import (
	"strings"
	"unicode/utf8"

	"github.com/picketwatch/picket/sdk/abi"
)

// CookieKey names the variable that keeps a plugin from being started by hand, and a host from talking to something else.
const (
	CookieKey   = "PICKET_PLUGIN"
	CookieValue = "1f9c0c2e-picket-plugin"
)

// LifelineEnv names the descriptor whose end of file means that the host is gone.
const LifelineEnv = "PICKET_LIFELINE_FD"

// RecordsEnv names the descriptor of the record plane.
const RecordsEnv = "PICKET_RECORDS_FD"

// Panicked is the message of the line in the log with which a process of several instances says whose panic it dies of.
const Panicked = "the instance panics"

// MaxMessage is the largest gRPC message in either direction, at both ends. gRPC's own default is 4 MiB at the server
// and go-plugin's is unlimited at the client.
const MaxMessage = abi.MaxMessage

const (
	// Window is how much may be on its way before the other side has read it.
	Window = 4 << 20
	// ConnBuffer is written at once.
	ConnBuffer = 64 << 10
)

// clean makes a text fit for protobuf, which refuses a whole message for one byte that is not UTF-8.
func clean(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
