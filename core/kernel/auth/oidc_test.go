package auth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

// issuer is a double of an OpenID provider: it has whoever comes signed in at once, and can lie.
type issuer struct {
	*httptest.Server
	t      *testing.T
	key    *rsa.PrivateKey
	now    func() time.Time
	claims map[string]any
	lie    func(claims map[string]any)
	forge  bool // sign with a key that it does not publish
	codes  map[string]url.Values
}

func newIssuer(t *testing.T, now func() time.Time) *issuer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	i := &issuer{t: t, key: key, now: now, codes: map[string]url.Values{}, claims: map[string]any{"sub": "4711", "preferred_username": "Grace", "groups": []string{"staff", "netops"}}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.answer(w, map[string]any{"keys": []any{map[string]any{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k1",
			"n": base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(i.key.E)).Bytes())}}})
	})
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// enter is the person's way through the provider's pages: it returns the code and the state that the browser brings back.
func (i *issuer) enter(address string) (state, code string) {
	i.t.Helper()
	u, err := url.Parse(address)
	must(i.t, err)
	q := u.Query()
	if q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" || q.Get("redirect_uri") != where+"/api/v1/oidc/callback" {
		i.t.Fatalf("the browser was sent with %s", u.RawQuery)
	}
	code = "code-" + q.Get("state")[:8]
	i.codes[code] = q
	return q.Get("state"), code
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	must(i.t, r.ParseForm())
	q, ok := i.codes[r.Form.Get("code")]
	sum := sha256.Sum256([]byte(r.Form.Get("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != q.Get("code_challenge") {
		w.WriteHeader(http.StatusBadRequest)
		i.answer(w, map[string]any{"error": "invalid_grant"})
		return
	}
	delete(i.codes, r.Form.Get("code"))
	claims := map[string]any{"iss": i.URL, "aud": "picket", "exp": i.now().Add(time.Minute).Unix(), "iat": i.now().Unix(), "auth_time": i.now().Unix(), "nonce": q.Get("nonce")}
	for k, v := range i.claims {
		claims[k] = v
	}
	if i.lie != nil {
		i.lie(claims)
	}
	i.answer(w, map[string]any{"access_token": "x", "token_type": "Bearer", "id_token": i.sign(claims)})
}

func (i *issuer) sign(claims map[string]any) string {
	body, err := json.Marshal(claims)
	must(i.t, err)
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k1"}`)) + "." + base64.RawURLEncoding.EncodeToString(body)
	key := i.key
	if i.forge {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
		must(i.t, err)
	}
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	must(i.t, err)
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

func openWithIssuer(t *testing.T) (*Auth, *issuer) {
	t.Helper()
	a, now := open(t)
	i := newIssuer(t, now.Now)
	p, err := newProvider(&OIDC{Name: "Work", Issuer: i.URL, ClientID: "picket", ClientSecret: "s", Claim: "groups",
		Roles: []RoleOf{{"admins", RoleADM}, {"netops", RoleIT}, {"staff", RolePUB}}}, where)
	must(t, err)
	a.oidc = p
	return a, i
}

func TestOIDC(t *testing.T) {
	a, i := openWithIssuer(t)
	come := func() (Identity, error) {
		t.Helper()
		address, kept, err := a.BeginOIDC(t.Context())
		must(t, err)
		state, code := i.enter(address)
		_, id, err := a.FinishOIDC(t.Context(), state, kept, code, home)
		return id, err
	}
	id, err := come()
	must(t, err)
	if id.Name != "grace" || id.Role != RoleIT || id.Method != methodOIDC {
		t.Errorf("%+v", id)
	}
	first := id.UserID
	i.claims["groups"], i.claims["preferred_username"] = "admins", "grace.hopper"
	if id, err = come(); err != nil || id.UserID != first || id.Role != RoleADM {
		t.Errorf("the same subject with another role: %+v, %v", id, err)
	}
	i.claims["groups"] = []string{"staff"}
	if _, err = come(); err == nil || !errors.Is(err, store.ErrLastAdministrator) {
		t.Errorf("the last administrator: %v", err)
	}
	_, err = a.CreateUser(t.Context(), "root", goodPassword, RoleADM)
	must(t, err)
	if id, err = come(); err != nil || id.Role != RolePUB {
		t.Errorf("%+v, %v", id, err)
	}
	// No way past the provider that would outlive what it thinks of somebody.
	var input *InputError
	if _, _, err := a.ChangePassword(t.Context(), id, "", goodPassword, home); !errors.As(err, &input) {
		t.Errorf("a password of her own: %v", err)
	}
	must(t, a.cfg.Store.SetUserDisabled(t.Context(), id.Tenant, id.UserID, true))
	_, err = come()
	wantErr(t, err, ErrForeign)
}

// A link would be a way past the provider: to a session, and from there to a password.
func TestNoLinkForWhoComesFromElsewhere(t *testing.T) {
	a, i := openWithIssuer(t)
	address, kept, err := a.BeginOIDC(t.Context())
	must(t, err)
	state, code := i.enter(address)
	i.lie = func(c map[string]any) { c["auth_time"] = c["iat"].(int64) - 59 } // its clock is behind
	_, id, err := a.FinishOIDC(t.Context(), state, kept, code, home)
	must(t, err)
	var input *InputError
	if link, err := a.LinkFor(t.Context(), id.Tenant, id.UserID); !errors.As(err, &input) || link != "" {
		t.Errorf("a link %q, %v", link, err)
	}
	u, err := a.CreateUser(t.Context(), "root", goodPassword, RoleADM)
	must(t, err)
	if _, err := a.LinkFor(t.Context(), u.Tenant, u.ID); err != nil {
		t.Errorf("who belongs here gets none: %v", err)
	}
}

// While a provider is slow to describe itself, who gives up does, and the others are served by one question.
func TestASlowProviderHoldsNobody(t *testing.T) {
	a, i := openWithIssuer(t)
	asked, answer := make(chan struct{}, 10), make(chan struct{})
	describe := i.Config.Handler
	i.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		describe.ServeHTTP(w, r)
	})
	ctx, giveUp := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, _, err := a.BeginOIDC(ctx); first <- err }()
	<-asked
	giveUp()
	wantErr(t, <-first, context.Canceled)
	go func() { _, _, err := a.BeginOIDC(t.Context()); second <- err }()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := a.BeginOIDC(gone)
	wantErr(t, err, context.Canceled)
	close(answer)
	must(t, <-second)
	if len(asked) != 0 {
		t.Errorf("the provider was asked %d times more", len(asked))
	}
}

func TestOIDCRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		lie  func(map[string]any)
		bend func(a *Auth, i *issuer, state, kept, code *string)
		says string
	}{
		"another browser's state":      {nil, func(_ *Auth, _ *issuer, _, kept, _ *string) { *kept = "x" }, "state"},
		"no cookie":                    {nil, func(_ *Auth, _ *issuer, _, kept, _ *string) { *kept = "" }, "state"},
		"a state nobody was given":     {nil, func(_ *Auth, _ *issuer, s, kept, _ *string) { *s, *kept = "x", "x" }, "too long ago"},
		"a made-up code":               {nil, func(_ *Auth, _ *issuer, _, _, code *string) { *code = "x" }, "exchange"},
		"another's PKCE":               {nil, func(_ *Auth, i *issuer, _, _, code *string) { i.codes[*code].Set("code_challenge", "x") }, "exchange"},
		"another nonce":                {func(c map[string]any) { c["nonce"] = "x" }, nil, "nonce"},
		"no nonce":                     {func(c map[string]any) { delete(c, "nonce") }, nil, "nonce"},
		"for another audience":         {func(c map[string]any) { c["aud"] = "other" }, nil, "audience"},
		"of another issuer":            {func(c map[string]any) { c["iss"] = "https://evil.example" }, nil, "issue"},
		"expired":                      {func(c map[string]any) { c["exp"] = c["iat"].(int64) - 3600 }, nil, "expired"},
		"no time of the sign-in":       {func(c map[string]any) { delete(c, "auth_time") }, nil, "no auth_time"},
		"a time that is none":          {func(c map[string]any) { c["auth_time"] = "now" }, nil, "no auth_time"},
		"signed in before":             {func(c map[string]any) { c["auth_time"] = c["iat"].(int64) - 61 }, nil, "did not ask who it is"},
		"no role":                      {func(c map[string]any) { c["groups"] = []string{"guests"} }, nil, "gives a role"},
		"no groups":                    {func(c map[string]any) { delete(c, "groups") }, nil, "gives a role"},
		"no name":                      {func(c map[string]any) { delete(c, "preferred_username") }, nil, "no claim"},
		"a name that is none":          {func(c map[string]any) { c["preferred_username"] = "<script>" }, nil, "username"},
		"a name that is taken":         {func(c map[string]any) { c["preferred_username"] = "root" }, nil, "taken"},
		"signed with an unknown key":   {nil, func(_ *Auth, i *issuer, _, _, _ *string) { i.forge = true }, "verify"},
		"the state used a second time": {nil, func(a *Auth, _ *issuer, s, _, _ *string) { a.strangers.take(*s, ticketOIDC) }, "too long ago"},
	} {
		t.Run(name, func(t *testing.T) {
			a, i := openWithIssuer(t)
			_, err := a.CreateUser(t.Context(), "root", goodPassword, RoleADM)
			must(t, err)
			i.lie = c.lie
			address, kept, err := a.BeginOIDC(t.Context())
			must(t, err)
			state, code := i.enter(address)
			if c.bend != nil {
				c.bend(a, i, &state, &kept, &code)
			}
			_, _, err = a.FinishOIDC(t.Context(), state, kept, code, home)
			if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want it to say %q", err, c.says)
			}
			if users, _ := a.cfg.Store.ListUsers(t.Context(), store.DefaultTenant); len(users) != 1 {
				t.Errorf("%d users", len(users))
			}
		})
	}
}
