package facts

import (
	"bytes"
	"strconv"
	"strings"
)

// secretFields are the fields of heads whose values let others in, besides those whose names hold one of secretWords. They
// are listed without them.
var secretFields = map[string]bool{
	"authorization": true, "proxy-authorization": true, "cookie": true, "set-cookie": true, "api-key": true, "x-api-key": true,
	"sec-websocket-key": true, "authentication-info": true, "x-auth-key": true, "x-auth": true, "x-functions-key": true,
}

// secretWords are in the names of what lets others in, written together.
var secretWords = []string{
	"passw", "passphrase", "secret", "token", "apikey", "accesskey", "privatekey", "credential", "signature", "authorization",
	"sessionid", "sessid", "sessionkey", "csrf", "xsrf", "assertion", "samlresponse",
}

// secretParameters are whole names of such parameters, or the last words of them.
var secretParameters = map[string]bool{
	"pass": true, "pwd": true, "pw": true, "psw": true, "key": true, "auth": true, "sig": true, "sid": true, "jwt": true, "otp": true,
	"pin": true, "ticket": true,
}

// longestName is as much of the name of a parameter as is looked at: its end.
const longestName = 64

// secretField reports whether the value of a head's field is left out.
func secretField(name string) bool {
	var room [longestName]byte // for nearly all
	low := lower(room[:0], name)
	return secretFields[string(low)] || holdsSecretWord(low)
}

// secretParameter reports whether the value of a parameter is hidden.
func secretParameter(name string) bool {
	if len(name) > longestName {
		name = name[len(name)-longestName:]
	}
	var room [longestName]byte
	low := bytes.TrimSuffix(bytes.TrimRight(lower(room[:0], name), "]"), []byte("%5d"))
	last := low[bytes.LastIndexFunc(low, apart)+1:]
	if i := bytes.LastIndex(low, []byte("%5b")); i >= 0 {
		last = low[i+len("%5b"):]
	}
	return secretParameters[string(last)] || holdsSecretWord(low)
}

func lower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// apart reports whether a character stands between the words of a name.
func apart(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }

// holdsSecretWord looks into a name in lower case, and writes its words together.
func holdsSecretWord(name []byte) bool {
	together := name[:0]
	for _, c := range name {
		if !apart(rune(c)) {
			together = append(together, c)
		}
	}
	for i, c := range together {
		for _, w := range wordsFrom[c] {
			if rest := together[i:]; len(rest) >= len(w) && string(rest[:len(w)]) == w {
				return true
			}
		}
	}
	return false
}

// wordsFrom are the secretWords by their first letter.
var wordsFrom = func() (by [256][]string) {
	for _, w := range secretWords {
		by[w[0]] = append(by[w[0]], w)
	}
	return by
}()

// shown is a text from the wire as records have it: cut, and without what lets others in (redacted).
func shown(s string) string { return cut(redacted(cut(s))) }

// redacted hides in a text, a URL for example, the values of parameters with secret names, and the passwords in front of hosts.
// What is hidden is told by its length, as in token=[redacted:16].
func redacted(s string) string {
	if strings.IndexByte(s, '=') < 0 && strings.IndexByte(s, '@') < 0 && strings.IndexByte(s, '%') < 0 {
		return s
	}
	h := hiding{text: s}
	for i := 0; i < len(s); i++ {
		from, to := i, i
		switch {
		case s[i] == '=':
			from, to = h.value(i, i+1)
		case isEscape(s[i:], '3', 'd'):
			from, to = h.value(i, i+len("%3d"))
		case s[i] == '@':
			from, to = h.userinfo(i)
		}
		if from < to {
			h.hide(from, to)
			i = to - 1
		}
	}
	return h.String()
}

// hiding is a text of which parts are hidden, from its beginning to its end.
type hiding struct {
	text string
	out  []byte
	done int // bytes of text that are in out

	// Of the @ that was looked at last: text is looked through once, however many there are.
	part, last int // where the part of a URL that it is in ends, and the last @ in it
	seen, word int // how far text was looked through, and where the word began
}

func (h *hiding) hide(from, to int) {
	h.out = append(append(h.out, h.text[h.done:from]...), "[redacted:"...)
	h.out = append(strconv.AppendInt(h.out, int64(to-from), 10), ']')
	h.done = to
}

func (h *hiding) String() string {
	if h.done == 0 {
		return h.text
	}
	return string(append(h.out, h.text[h.done:]...))
}

// value is where the secret value of the parameter lies whose name ends at end, if it is one.
func (h *hiding) value(end, at int) (from, to int) {
	name := h.text[max(h.done, end-longestName-len("%26")):end] // more of it is not looked at
	name = name[strings.LastIndexAny(name, "?&#;/, \t\"'<>({=@")+1:]
	for i := len(name) - len("%26"); i >= 0; i-- {
		if ends(name[i:]) {
			name = name[i+len("%26"):]
			break
		}
	}
	if !secretParameter(name) {
		return at, at
	}
	return at, at + valueLength(h.text[at:])
}

// valueLength is how long a value is, with its quotes.
func valueLength(s string) int {
	if strings.HasPrefix(s, `"`) {
		if n := strings.IndexByte(s[1:], '"'); n >= 0 {
			return n + len(`""`)
		}
		return len(s)
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '&' || c == '#' || c == '"' || c == '<' || c == '>' || ends(s[i:]) {
			return i
		}
	}
	return len(s)
}

// ends reports whether an escape stands there that sets a parameter apart in a URL within a URL: one of ? & #.
func ends(s string) bool {
	return isEscape(s, '2', '6') || isEscape(s, '3', 'f') || isEscape(s, '2', '3')
}

func isEscape(s string, high, low byte) bool {
	return len(s) >= len("%00") && s[0] == '%' && s[1] == high && (s[2] == low || low >= 'a' && s[2] == low-('a'-'A'))
}

// userinfo is where the secret before the @ at the place at lies: all of it behind two slashes, where names are often tokens, else
// what is behind the name in an address of SIP.
func (h *hiding) userinfo(at int) (from, to int) {
	if at >= h.part {
		h.part = len(h.text)
		if n := strings.IndexAny(h.text[at:], "/?# \"<>"); n >= 0 {
			h.part = at + n
		}
		h.last = at + strings.LastIndexByte(h.text[at:h.part], '@')
	}
	for ; h.seen < at; h.seen++ {
		if strings.IndexByte("/?&#=;, \t\"<>", h.text[h.seen]) >= 0 {
			h.word = h.seen + 1
		}
	}
	from, to = max(h.word, h.done), h.last
	if strings.HasSuffix(h.text[:from], "//") {
		return from, to
	}
	scheme, rest, _ := strings.Cut(h.text[from:to], ":")
	_, password, _ := strings.Cut(rest, ":")
	if !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		password = ""
	}
	return to - len(password), to
}

// shownHost is a host from the wire, without what stands before it.
func shownHost(s string) string {
	s = cut(s)
	h := hiding{text: s}
	if at := strings.LastIndexByte(s, '@'); at > 0 {
		h.hide(0, at)
	}
	return h.String()
}

// shownTarget is what a request asks for. Of CONNECT that is a host.
func shownTarget(method, target string) string {
	if connects(method) {
		return cut(redacted(shownHost(target)))
	}
	return shown(target)
}

func connects(method string) bool { return strings.EqualFold(method, "connect") }

// beginningWords are what a text says before it says a secret.
var beginningWords = []string{"passw", "passphrase", "pwd", "secret", "token", "api_key", "api-key", "apikey", "private key", "authorization", "credential"}

// beforeSecrets is the beginning of a text up to the first name of a secret, and whether there is one. Other bytes than a
// text's say no such names.
func beforeSecrets(b []byte) ([]byte, bool) {
	low := lower(make([]byte, 0, len(b)), string(b)) // as long as b, which bytes.ToLower is not for other bytes than a text's
	at := len(b)
	for _, w := range beginningWords {
		if i := bytes.Index(low, []byte(w)); i >= 0 {
			at = min(at, i+len(w))
		}
	}
	return b[:at], at < len(b)
}
