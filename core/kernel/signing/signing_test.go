package signing

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"
)

// The example of RFC 9421, appendix B.2.6. Ed25519 is deterministic, so the signature must be equal to the byte.
func TestVectorB26(t *testing.T) {
	block, _ := pem.Decode([]byte("-----BEGIN PRIVATE KEY-----\n" +
		"MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF\n-----END PRIVATE KEY-----\n"))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("POST", "http://example.com/foo?param=Value&Pet=dog", strings.NewReader(`{"hello": "world"}`))
	req.Header.Set("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Content-Length", "18")
	input := httpsfv.InnerList{Params: httpsfv.NewParams()}
	for _, name := range []string{"date", "@method", "@path", "@authority", "content-type", "content-length"} {
		input.Items = append(input.Items, httpsfv.NewItem(name))
	}
	input.Params.Add("created", int64(1618884473))
	input.Params.Add("keyid", "test-key-ed25519")

	base, err := signatureBase(req, input)
	if err != nil {
		t.Fatal(err)
	}
	wantBase := `"date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"`
	if base != wantBase {
		t.Fatalf("signature base\n%s\nwant\n%s", base, wantBase)
	}
	if err := attach(req, input, parsed.(ed25519.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	want := label + "=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
	if got := req.Header.Get("Signature"); got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

type memoryGuard map[string]bool

func (g memoryGuard) Remember(_ context.Context, keyID, nonce string, _ time.Time) (bool, error) {
	seen := g[keyID+"/"+nonce]
	g[keyID+"/"+nonce] = true
	return !seen, nil
}

var (
	start   = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)
	testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
)

func lookup(id string) (ed25519.PublicKey, error) {
	if id != "agent-1" {
		return nil, ErrUnknownKey
	}
	return testKey.Public().(ed25519.PublicKey), nil
}

func signed(tb testing.TB, body string) *http.Request {
	tb.Helper()
	req := httptest.NewRequest("POST", "http://server/api/v1/metrics?x=1", strings.NewReader(body))
	if err := SignRequest(req, []byte(body), testKey, "agent-1", start); err != nil {
		tb.Fatal(err)
	}
	return req
}

func TestVerifyRequest(t *testing.T) {
	edit := func(name, old, new string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, strings.Replace(r.Header.Get(name), old, new, 1)) }
	}
	cases := map[string]struct {
		change func(*http.Request)
		body   string
		now    time.Time
		want   Reason
	}{
		"good":                        {},
		"method changed":              {change: func(r *http.Request) { r.Method = "PUT" }, want: BadSignature},
		"path changed":                {change: func(r *http.Request) { r.URL.Path = "/api/v1/sightings" }, want: BadSignature},
		"query changed":               {change: func(r *http.Request) { r.URL.RawQuery = "x=2" }, want: BadSignature},
		"body changed":                {body: `{"forged":true}`, want: BadDigest},
		"digest changed too":          {change: edit("Content-Digest", "sha-256=:", "sha-256=:AAAA"), want: BadSignature},
		"no signature":                {change: func(r *http.Request) { r.Header.Del("Signature") }, want: Unsigned},
		"no signature input":          {change: func(r *http.Request) { r.Header.Del("Signature-Input") }, want: Unsigned},
		"no digest":                   {change: func(r *http.Request) { r.Header.Del("Content-Digest") }, want: Malformed},
		"two signature lines":         {change: func(r *http.Request) { r.Header.Add("Signature", r.Header.Get("Signature")) }, want: Malformed},
		"garbage":                     {change: func(r *http.Request) { r.Header.Set("Signature-Input", "((((") }, want: Malformed},
		"digest not covered":          {change: edit("Signature-Input", ` "content-digest"`, ""), want: Uncovered},
		"query not covered":           {change: edit("Signature-Input", ` "@query"`, ""), want: Uncovered},
		"other tag":                   {change: edit("Signature-Input", Tag, "web-bot"), want: Uncovered},
		"other algorithm":             {change: edit("Signature-Input", `"ed25519"`, `"hmac-sha256"`), want: Uncovered},
		"no algorithm":                {change: edit("Signature-Input", `;alg="ed25519"`, ""), want: Uncovered},
		"no creation time":            {change: edit("Signature-Input", ";created=1793793600", ""), want: Uncovered},
		"later creation time":         {change: edit("Signature-Input", ";created=1793793600", ";created=1793793601"), want: BadSignature},
		"extra parameter":             {change: edit("Signature-Input", ";alg=", ";expires=1893793600;alg="), want: Uncovered},
		"short nonce":                 {change: edit("Signature-Input", `;keyid=`, `;nonce="x";keyid=`), want: Uncovered},
		"other nonce":                 {change: edit("Signature-Input", `;nonce="`, `;nonce="0`), want: BadSignature},
		"stranger":                    {change: edit("Signature-Input", "agent-1", "agent-2"), want: UnknownKey},
		"flipped bit in signature":    {change: flipSignature, want: BadSignature},
		"three minutes old":           {now: start.Add(3 * time.Minute), want: Stale},
		"three minutes in the future": {now: start.Add(-3 * time.Minute), want: Future},
		"a minute old":                {now: start.Add(time.Minute)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			req, body, now := signed(t, `{"a":1}`), `{"a":1}`, start
			if c.change != nil {
				c.change(req)
			}
			if c.body != "" {
				body = c.body
			}
			if !c.now.IsZero() {
				now = c.now
			}
			guard := memoryGuard{}
			id, err := Verifier{}.VerifyRequest(req, []byte(body), lookup, guard, now)
			reason, _ := ReasonOf(err)
			if reason != c.want {
				t.Fatalf("got %v, want reason %q", err, c.want)
			}
			if c.want == "" && (id != "agent-1" || err != nil) {
				t.Errorf("got %q, %v", id, err)
			}
			if c.want != "" && len(guard) != 0 {
				t.Error("a refused request must not use up memory of the guard")
			}
		})
	}
}

func flipSignature(r *http.Request) {
	d, _ := httpsfv.UnmarshalDictionary(r.Header.Values("Signature"))
	m, _ := d.Get(label)
	raw := m.(httpsfv.Item).Value.([]byte)
	raw[10] ^= 1
	r.Header.Set("Signature", label+"=:"+base64.StdEncoding.EncodeToString(raw)+":")
}

func TestReplayIsRefused(t *testing.T) {
	req, guard := signed(t, "{}"), memoryGuard{}
	if _, err := (Verifier{}).VerifyRequest(req, []byte("{}"), lookup, guard, start); err != nil {
		t.Fatal(err)
	}
	_, err := Verifier{}.VerifyRequest(req, []byte("{}"), lookup, guard, start)
	if reason, _ := ReasonOf(err); reason != Replayed {
		t.Errorf("second use: %v, want %s", err, Replayed)
	}
	if _, err := (Verifier{}).VerifyRequest(signed(t, "{}"), []byte("{}"), lookup, guard, start); err != nil {
		t.Errorf("a new signature over the same request: %v", err)
	}
}

func TestRequestWithoutBody(t *testing.T) {
	req := httptest.NewRequest("GET", "http://server/", nil)
	if err := SignRequest(req, nil, testKey, "agent-1", start); err != nil {
		t.Fatal(err)
	}
	if _, err := (Verifier{}).VerifyRequest(req, nil, lookup, memoryGuard{}, start); err != nil {
		t.Error(err)
	}
}

func FuzzVerifyRequest(f *testing.F) {
	good := signed(f, "{}")
	f.Add(good.Header.Get("Signature-Input"), good.Header.Get("Signature"), good.Header.Get("Content-Digest"))
	f.Add(`a=();created=1`, `a=::`, "sha-256=::")
	f.Add(`a=("@method";req);created=1`, `a=:AA==:`, "")
	f.Fuzz(func(t *testing.T, input, sig, digest string) {
		req := httptest.NewRequest("POST", "http://server/api/v1/metrics?x=1", nil)
		req.Header["Signature-Input"] = []string{input}
		req.Header["Signature"] = []string{sig}
		req.Header["Content-Digest"] = []string{digest}
		_, err := Verifier{}.VerifyRequest(req, []byte("{}"), lookup, memoryGuard{}, start)
		if err != nil {
			if _, ok := ReasonOf(err); !ok {
				t.Fatalf("not a refusal: %v", err)
			}
			return
		}
		// Accepted: then it must be the one good signature, however it was spelled.
		d, err := httpsfv.UnmarshalDictionary([]string{sig})
		if err != nil || len(d.Names()) != 1 {
			t.Fatalf("accepted %q", sig)
		}
	})
}

func TestCommand(t *testing.T) {
	public := testKey.Public().(ed25519.PublicKey)
	good, err := SignCommand(Command{ID: "c1", Agent: "agent-1", Type: "restart-plugin",
		Args: []byte(`{ "z": 1.50, "instance": "host" }`), Issued: start, Expires: start.Add(time.Minute)}, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if string(good.Args) != `{"instance":"host","z":1.50}` {
		t.Errorf("args %s", good.Args)
	}
	cases := map[string]struct {
		change func(*Command)
		now    time.Time
		want   Reason
	}{
		"good":               {},
		"spelled otherwise":  {change: func(c *Command) { c.Args = []byte("{\"z\":1.50,\n\"instance\":\"host\"}") }},
		"other argument":     {change: func(c *Command) { c.Args = []byte(`{"instance":"arp","z":1.50}`) }, want: BadSignature},
		"argument added":     {change: func(c *Command) { c.Args = []byte(`{"Instance":"arp","instance":"host","z":1.50}`) }, want: BadSignature},
		"two values":         {change: func(c *Command) { c.Args = []byte(`{"instance":"host","z":1.50}{}`) }, want: Malformed},
		"other type":         {change: func(c *Command) { c.Type = "collect-now" }, want: BadSignature},
		"longer life":        {change: func(c *Command) { c.Expires = c.Expires.Add(time.Hour) }, want: BadSignature},
		"aimed at another":   {change: func(c *Command) { c.Agent = "agent-2" }, want: BadSignature},
		"no signature":       {change: func(c *Command) { c.Signature = nil }, want: BadSignature},
		"at its expiry":      {now: start.Add(time.Minute), want: Expired},
		"just before expiry": {now: start.Add(time.Minute - time.Microsecond)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			cmd, now := good, start
			if c.change != nil {
				c.change(&cmd)
			}
			if !c.now.IsZero() {
				now = c.now
			}
			_, err := VerifyCommand(cmd, public, "agent-1", now)
			if reason, _ := ReasonOf(err); reason != c.want || (err != nil) != (c.want != "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, err := VerifyCommand(good, public, "agent-2", start); err == nil {
		t.Error("agent-2 ran a command for agent-1")
	}
}
