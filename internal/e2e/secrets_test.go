package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// What nobody but its owner may know is worked with as on a bad day: made, used, mistyped, changed, backed up. Then it is looked for
// where others read: in all that the server has stored, printed at debug and gives out, and in the lists of processes.
func TestSecretsAreNowhereToBeFound(t *testing.T) {
	t.Setenv("PICKET_LOG", "debug")
	etc := t.TempDir()
	secrets := map[string]string{"the client secret of the OpenID provider": "zz-Oidc-Client-Secret-31"}
	clientSecret := filepath.Join(etc, "client-secret")
	write(t, clientSecret, secrets["the client secret of the OpenID provider"])
	config := filepath.Join(etc, "picketd.yaml")
	port := freePort(t)
	write(t, config, fmt.Sprintf("public_url: http://127.0.0.1:%d\noidc: {issuer: 'https://127.0.0.1:%d', client_id: picket, client_secret_file: %s, roles: [netops=IT]}\n", port, freePort(t), clientSecret))
	s := startServer(t, filepath.Join(t.TempDir(), "data"), port, "--config", config)
	keep := func(what, secret string) string {
		if len(secret) < 8 {
			t.Fatalf("%s is no secret: %q", what, secret)
		}
		secrets[what] = secret
		return secret
	}
	for _, c := range s.http.Jar.Cookies(must(http.NewRequest(http.MethodGet, s.url, nil)).URL) {
		if c.Name == "picket_session" {
			keep("a session", c.Value)
		}
	}

	// A person comes in by a link, chooses a password, mistypes it, changes it, and gets a second factor.
	var invited struct{ ID, Link string }
	s.call(t, http.MethodPost, "/api/v1/users", map[string]string{"username": "zzperson", "role": "ADM"}, &invited)
	_, token, _ := strings.Cut(invited.Link, "token=")
	p := &server{program: s.program, url: s.url, http: &http.Client{Jar: must(cookiejar.New(nil)), Timeout: patience}}
	var me struct{ CSRF string }
	p.call(t, http.MethodPost, "/api/v1/signin", map[string]string{"token": keep("the link of an invitation", token)}, &me)
	p.csrf = me.CSRF
	first, second := keep("a password", "zz first Passphrase 17!"), keep("the password after it", "zz second Passphrase 18!")
	p.call(t, http.MethodPost, "/api/v1/me/password", map[string]string{"new": first}, &me)
	p.csrf = me.CSRF
	if status, _ := p.try(t, http.MethodPost, "/api/v1/login", map[string]string{"username": "zzperson", "password": keep("a password that was mistyped", "zz first Passphrase 71!")}); status != http.StatusUnauthorized {
		t.Errorf("a password that was mistyped: %d", status)
	}
	p.call(t, http.MethodPost, "/api/v1/me/password", map[string]string{"current": first, "new": second}, &me)
	p.csrf = me.CSRF
	var app struct{ ID, Secret string }
	p.call(t, http.MethodPost, "/api/v1/me/factors/app", map[string]string{"name": "phone"}, &app)
	code := must(totp.GenerateCode(keep("the secret of an app", app.Secret), time.Now()))
	var recovery struct{ Codes []string }
	p.call(t, http.MethodPost, "/api/v1/me/factors/app/"+app.ID+"/confirm", map[string]string{"code": code}, &recovery)
	keep("a recovery code", recovery.Codes[0])
	keep("another recovery code", recovery.Codes[1])
	var ask struct{ Factor struct{ Challenge string } }
	p.call(t, http.MethodPost, "/api/v1/login", map[string]string{"username": "zzperson", "password": second}, &ask)
	p.call(t, http.MethodPost, "/api/v1/login/code", map[string]string{"challenge": keep("a challenge", ask.Factor.Challenge), "code": recovery.Codes[0]}, &me)
	p.csrf = me.CSRF

	// Tokens: used, mistyped, rotated; one for machines.
	var made struct{ ID, Token string }
	s.call(t, http.MethodPost, "/api/v1/tokens", map[string]string{"name": "zz", "role": "IT"}, &made)
	with := func(token string) int {
		r := must(http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/agents", nil))
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if a, b := with(keep("an API token", made.Token)), with(keep("an API token that was mistyped", made.Token[:len(made.Token)-4]+"zzzz")); a != 200 || b != 401 {
		t.Errorf("a token %d, one that was mistyped %d", a, b)
	}
	s.call(t, http.MethodPost, "/api/v1/tokens/"+made.ID+"/rotate", nil, &made)
	keep("an API token that was rotated", made.Token)
	s.call(t, http.MethodPost, "/api/v1/agents/tokens", map[string]string{"name": "zzmachine"}, &made)
	enrolment := filepath.Join(etc, "enrolment")
	write(t, enrolment, keep("an enrolment token", made.Token))
	machine := start(t, bin(t, "picket-agent"), "--server", s.url, "--data", filepath.Join(t.TempDir(), "agent"), "--token-file", enrolment)
	waitFor(t, "the second machine", func() bool { return strings.Contains(machine.output(), "Enrolled at") })

	// A plugin's secrets, and backups.
	s.call(t, http.MethodPost, "/api/v1/plugins/picket/webhook/enable", map[string]any{"config": map[string]any{"url": "http://127.0.0.1:9/"},
		"secrets": map[string]string{"secret": keep("a plugin's secret", "zz-Webhook-Secret-55"), "authorization": keep("another secret of a plugin", "Bearer zz-Webhook-Authorization-56")},
		"grants":  "all"}, nil)
	s.try(t, http.MethodPost, "/api/v1/plugins/picket/webhook/test", map[string]any{})
	var backup struct{ Name string }
	s.call(t, http.MethodPost, "/api/v1/admin/backups", map[string]any{"mode": "config", "passphrase": keep("the passphrase of a backup", "zz Backup Passphrase 99")}, &backup)
	waitFor(t, "the backup", func() bool {
		status, _ := s.try(t, http.MethodPost, "/api/v1/admin/backups/"+backup.Name+"/verify", map[string]string{"passphrase": secrets["the passphrase of a backup"]})
		return status == http.StatusOK
	})
	s.try(t, http.MethodPost, "/api/v1/admin/backups/"+backup.Name+"/verify", map[string]string{"passphrase": keep("a passphrase that was mistyped", "zz Backup Passphrase 66")})

	places := map[string][]byte{"what the server printed": []byte(s.output()), "what the agent printed": []byte(machine.output())}
	for _, path := range []string{"/api/v1/audit/export?format=json", "/api/v1/audit/export?format=csv", "/api/v1/settings/file", "/api/v1/admin/system", "/api/v1/users", "/api/v1/tokens",
		"/api/v1/agents/tokens", "/api/v1/plugins/picket/webhook", "/api/v1/config/server", "/api/v1/admin/backups", "/metrics"} {
		_, text := s.try(t, http.MethodGet, path, nil)
		places[path] = text
	}
	for _, name := range []string{"cmdline", "environ"} {
		for _, path := range must(filepath.Glob("/proc/[0-9]*/" + name)) {
			if raw, err := os.ReadFile(path); err == nil { // it may be gone
				places[path] = raw
			}
		}
	}
	// Searched twice: as the server wrote it, and as it left it.
	found := searchIn(t, places, secrets)
	found += searchBelow(t, s.data, secrets)
	s.stop()
	found += searchIn(t, map[string][]byte{"what the server printed to its end": []byte(s.output())}, secrets)
	found += searchBelow(t, s.data, secrets)
	t.Logf("%d secrets, found %d times", len(secrets), found)

	// The search finds what is there.
	if n := searchBelow(quiet{t}, s.data, map[string]string{"a name": "zzperson"}); n == 0 {
		t.Error("the search does not find what is stored")
	}
	if !strings.Contains(s.output(), "level=DEBUG") {
		t.Error("the server printed nothing at debug")
	}
	for i := range 3 {
		inside := base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", i) + "zz-Hidden-Secret\x00y"))
		if searchIn(quiet{t}, map[string][]byte{"x": []byte(inside)}, map[string]string{"x": "zz-Hidden-Secret"}) == 0 {
			t.Errorf("the search does not find base64 at %d", i)
		}
	}
}

// finder is who is told what was found.
type finder interface {
	Helper()
	Errorf(format string, args ...any)
}

type quiet struct{ *testing.T }

func (quiet) Errorf(string, ...any) {}

func searchIn(t finder, places map[string][]byte, secrets map[string]string) (found int) {
	t.Helper()
	for what, secret := range secrets {
		for form, needle := range formsOf(secret) {
			for place, text := range places {
				if at := bytes.Index(text, []byte(needle)); at >= 0 {
					found++
					t.Errorf("%s stands in %s, %s", what, place, form)
				}
			}
		}
	}
	return found
}

// searchBelow looks into all files but the signed releases, which were there before.
func searchBelow(t finder, dir string, secrets map[string]string) (found int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // files come and go while a server runs
		}
		f, err := os.Open(path)
		if err != nil {
			return nil //nolint:nilerr // the same
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, 64<<20))
		if err == nil && !bytes.HasPrefix(text, []byte("\x7fELF")) && !bytes.HasPrefix(text, []byte("\x1f\x8b")) {
			found += searchIn(t, map[string][]byte{path: text}, secrets)
		}
		return err
	})
	if err != nil {
		t.Errorf("search %s: %v", dir, err)
	}
	return found
}

// formsOf are the ways in which a secret can stand somewhere: as it is, in hexadecimal, and in base64 at each place that it can begin.
func formsOf(secret string) map[string]string {
	out := map[string]string{"as it is": secret, "in hexadecimal": hex.EncodeToString([]byte(secret)), "in upper hexadecimal": strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for i := range 3 {
		raw := append(bytes.Repeat([]byte{0}, i), secret...)
		raw = raw[:len(raw)-len(raw)%3] // whole groups alone do not depend on what follows
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for addresses": base64.RawURLEncoding} {
			out[name+" from "+strconv.Itoa(i)] = enc.EncodeToString(raw)[(i*8+5)/6:]
		}
	}
	return out
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
