package bruteforce

import (
	"strings"

	"github.com/picketwatch/picket/sdk"
)

// words are in the paths of forms by which people log in.
var words = [...]string{"login", "logon", "log-in", "log_in", "signin", "sign-in", "sign_in", "auth", "passw", "session", "j_security_check", "account"}

// again are in the places to which a server sends whom it does not let in.
var again = [...]string{"error", "fail", "invalid", "denied", "incorrect", "retry", "login", "logon", "signin", "sign-in"}

// form reads an exchange in which somebody filled in a form to log in: a server shows the form once more, sends there, or refuses
// when the password is wrong, and sends elsewhere when it is right.
func form(h *sdk.HTTP) (a attempt, ok bool) {
	if h.Method != "POST" || h.Status == 0 || !isForm(h.RequestType) {
		return a, false
	}
	path, _, _ := strings.Cut(h.Target, "?")
	if !holds(path, words[:]) {
		return a, false
	}
	a = attemptOf(&h.Seen, httpForm)
	switch h.Status {
	case 401, 403, 429:
	case 200:
		a.worked = !strings.HasPrefix(h.ContentType, "text/html")
	case 301, 302, 303:
		to, _, _ := strings.Cut(h.Location, "#")
		a.worked = !holds(to, again[:]) && !strings.HasSuffix(to, path)
	default:
		return a, false
	}
	return a, true
}

func isForm(kind string) bool {
	kind, _, _ = strings.Cut(kind, ";")
	kind = strings.TrimSpace(kind)
	return strings.EqualFold(kind, "application/x-www-form-urlencoded") || strings.EqualFold(kind, "multipart/form-data") || strings.EqualFold(kind, "application/json")
}

// holds reports whether a text holds one of some words, in whatever case.
func holds(text string, list []string) bool {
	for _, word := range list {
		for i := 0; i+len(word) <= len(text); i++ {
			if strings.EqualFold(text[i:i+len(word)], word) {
				return true
			}
		}
	}
	return false
}
