package bruteforce

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/picketwatch/picket/plugins/detectors/internal/talk"
)

// The case ssh is not made here: hydra tried thirty passwords on an sshd in a network namespace, and a script logged in thrice.
func TestCapturesAreFresh(t *testing.T) {
	talk.Fresh(t, map[string]func(*talk.Wire){"ftp-guessed": ftpGuessed, "imap-names": imapNames, "web": web, "quiet": quiet, "slow": slowTelnet})
}

func host(last byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, last}) }

// ftpGuessed is twelve passwords of an account in connections of three each, of which the last one is right.
func ftpGuessed(w *talk.Wire) {
	at := time.Duration(0)
	for i := range 4 {
		said := []talk.Said{talk.Server("220 files\r\n")}
		for n := range 3 {
			answer := "530 Login incorrect.\r\n"
			if i == 3 && n == 2 {
				answer = "230 Login successful.\r\n"
			}
			said = append(said, talk.Client("USER backup\r\n"), talk.Server("331 Please specify the password.\r\n"), talk.Client(fmt.Sprintf("PASS pass%d\r\n", 3*i+n)), talk.Server(answer))
		}
		at = w.TCP(at, host(66), host(21), 21, append(said, talk.Client("QUIT\r\n"), talk.Server("221 Goodbye.\r\n"))...) + time.Second
	}
}

func imapLogin(w *talk.Wire, at time.Duration, from byte, user string, right bool) {
	answer := "a1 NO [AUTHENTICATIONFAILED] Authentication failed.\r\n"
	if right {
		answer = "a1 OK Logged in\r\n"
	}
	w.TCP(at, host(from), host(25), 143, talk.Server("* OK ready\r\n"), talk.Client("a1 LOGIN "+user+" secret\r\n"), talk.Server(answer),
		talk.Client("a2 LOGOUT\r\n"), talk.Server("* BYE\r\na2 OK\r\n"))
}

// imapNames is one password for ten names. Somebody reads mail meanwhile.
func imapNames(w *talk.Wire) {
	for i := range 10 {
		imapLogin(w, time.Duration(i)*3*time.Second, 66, fmt.Sprintf("name%d", i), false)
		imapLogin(w, time.Duration(i)*time.Minute, 7, "ada", true)
	}
}

func exchange(request, answer string) []talk.Said {
	return []talk.Said{talk.Client(request), talk.Server(answer)}
}

func basic(user, password string, status string) []talk.Said {
	proof := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return exchange("GET /status HTTP/1.1\r\nHost: app\r\nAuthorization: Basic "+proof+"\r\n\r\n", "HTTP/1.1 "+status+"\r\nContent-Length: 0\r\n\r\n")
}

func signIn(path, answer string) []talk.Said {
	const form = "user=ada&password=secret"
	return exchange(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: app\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s", path, len(form), form), answer)
}

const (
	formAgain = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nAgain"
	sentOn    = "HTTP/1.1 302 Found\r\nLocation: /home\r\nContent-Length: 0\r\n\r\n"
)

// web is guesses by a form, of which one works, and others with the password in the head.
func web(w *talk.Wire) {
	for i := range 12 {
		answer := formAgain
		if i == 10 {
			answer = sentOn
		}
		w.TCP(time.Duration(i)*200*time.Millisecond, host(66), host(80), 80, signIn("/account/login", answer)...)
		w.TCP(time.Duration(i)*time.Second, host(67), host(80), 80, basic("admin", fmt.Sprint("p", i), "401 Unauthorized")...)
	}
}

// slowTelnet is a guess an hour, each with another name.
func slowTelnet(w *talk.Wire) {
	for i := range 9 {
		w.TCP(time.Duration(i)*time.Hour, host(66), host(23), 23, talk.Server("\xff\xfb\x01\xff\xfb\x03login: "), talk.Client(fmt.Sprintf("user%d\r\n", i)), talk.Server("\r\nPassword: "),
			talk.Client("secret\r\n"), talk.Server("\r\nLogin incorrect\r\n"))
	}
}

// quiet is what looks like guessing and is none.
func quiet(w *talk.Wire) {
	for i := range 60 {
		at := time.Duration(i) * time.Minute
		imapLogin(w, at, 7, "ada", true)
		// An interface that is asked without a password first.
		said := exchange("GET /status HTTP/1.1\r\nHost: app\r\n\r\n", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
		w.TCP(at+time.Second, host(8), host(80), 80, append(said, basic("robot", "right", "200 OK")...)...)
		// A look whether a port answers.
		w.TCP(at+2*time.Second, host(9), host(22), 22, talk.Server("SSH-2.0-OpenSSH_9.2\r\n"))
		// A page that is signed in to.
		w.TCP(at+3*time.Second, host(10), host(80), 80, signIn("/login", sentOn)...)
	}
	// People who mistype, and get it right.
	for i := range 5 {
		for n := range 4 {
			imapLogin(w, time.Duration(i)*10*time.Minute+time.Duration(n)*5*time.Second, 11, "bob", n == 3)
		}
	}
	// Others who give up.
	for i := range 8 {
		for n := range 2 {
			imapLogin(w, time.Duration(i)*10*time.Minute+time.Duration(n)*5*time.Second, byte(20+i), "eve", false)
		}
	}
}
