package ssh

import (
	"strings"

	"github.com/picketwatch/picket/internal/traffic/app"
	"github.com/picketwatch/picket/internal/traffic/app/login"
)

// What follows the new keys is encrypted, but not its length, and a server answers each request to log in at once with one
// message: a single byte when it grants the login, a list of methods when it does not (RFC 4252). That is how it is told.
type sealed struct {
	open     bool // the server has sent its new keys
	granted  int  // length of the message that grants a login
	accepted int  // and of the one before, that takes the request for this service
	messages int  // of the server, up to the one that accepts
	refusals int
	bytes    int
	attempt  login.Attempt
}

// What a login is at most, in bytes of the server: beyond it, something is done in the session, whatever granted it.
const maxLogin = 64 << 10

// padding of RFC 4253, and what the messages hold.
const (
	minPadding    = 4
	grantedBytes  = 1
	acceptedBytes = 1 + 4 + len("ssh-userauth")
)

// begin works out the lengths from what the client wants and the server can do.
func (s *sealed) begin(client, server *suite) {
	cipher, mac := agreed(client.cipher, server.cipher), agreed(client.mac, server.mac)
	*s = sealed{open: true, granted: length(cipher, mac, grantedBytes), accepted: length(cipher, mac, acceptedBytes)}
}

// suite is what protects what a server says, in order of preference.
type suite struct{ cipher, mac string }

// agreed is the client's first name that the server has too.
func agreed(client, server string) string {
	for name := range strings.SplitSeq(client, ",") {
		for other := range strings.SplitSeq(server, ",") {
			if name == other {
				return name
			}
		}
	}
	return ""
}

// length is that of an encrypted message with so many bytes in it, 0 when it is not known.
func length(cipher, mac string, payload int) int {
	block, outside, proof := 16, false, 16
	switch {
	case cipher == "chacha20-poly1305@openssh.com":
		block, outside = 8, true
	case strings.Contains(cipher, "-gcm") || strings.Contains(cipher, "_GCM"):
		outside = true
	case strings.HasPrefix(cipher, "aes") || strings.HasPrefix(cipher, "rijndael"):
		outside, proof = strings.Contains(mac, "-etm@"), proofs[strings.TrimSuffix(mac, "-etm@openssh.com")]
	case strings.HasPrefix(cipher, "3des") || strings.HasPrefix(cipher, "arcfour") || strings.HasPrefix(cipher, "blowfish") || strings.HasPrefix(cipher, "cast128"):
		block, outside, proof = 8, strings.Contains(mac, "-etm@"), proofs[strings.TrimSuffix(mac, "-etm@openssh.com")]
	default:
		return 0
	}
	if proof == 0 {
		return 0
	}
	inside, head := 1+payload+minPadding, 4
	if !outside {
		inside, head = inside+head, 0
	}
	return head + max((inside+block-1)/block*block, block) + proof
}

// proofs are the lengths of message authentication codes.
var proofs = map[string]int{
	"hmac-md5": 16, "hmac-md5-96": 12, "hmac-sha1": 20, "hmac-sha1-96": 12, "hmac-ripemd160": 20, "hmac-sha2-256": 32, "hmac-sha2-512": 64,
	"umac-64@openssh.com": 8, "umac-128@openssh.com": 16, "umac-64": 8, "umac-128": 16,
}

// said looks at what the server says: one message, as it waits for the client's next request. It says false when the login is over.
func (s *sealed) said(f *app.Flow, n int) bool {
	s.bytes += n
	switch {
	case n == 0:
	case s.messages < 0 && n == s.granted, s.bytes > maxLogin:
		s.tell(f, login.Granted)
		return false
	case s.messages < 0:
		s.refusals++
	case n == s.accepted:
		s.messages = -1
	case s.messages == 1: // the first one held more than one message, or was the extensions alone
		s.messages = -1
		if n == s.granted {
			s.tell(f, login.Granted)
			return false
		}
		s.refusals++
	default:
		s.messages++
	}
	return true
}

// maxPasswords is how many times a client asks for a password before it gives up, and how many refusals are told at most: keys
// are refused one after the other without anybody's knowing.
const maxPasswords = 3

// end tells that nobody was let in, when somebody asked for it. The first request mostly asks what there is to log in by.
func (s *sealed) end(f *app.Flow) {
	if !s.open || s.refusals == 0 {
		return
	}
	for range min(max(s.refusals-1, 1), maxPasswords) {
		s.tell(f, login.Failed)
	}
}

func (s *sealed) tell(f *app.Flow, result login.Result) {
	*s = sealed{attempt: login.Attempt{Method: "SSH", Result: result}}
	f.Emit(app.Client, &s.attempt)
}
