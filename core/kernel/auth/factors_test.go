package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/pquerna/otp/totp"

	"github.com/picketwatch/picket/core/kernel/store"
)

// ada is an administrator with a password and an open session.
func ada(t *testing.T, a *Auth) Identity {
	t.Helper()
	_, err := a.CreateUser(t.Context(), "ada", goodPassword, RoleADM)
	must(t, err)
	_, who, err := a.Login(t.Context(), "ada", goodPassword, home)
	must(t, err)
	return who
}

func codeAt(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	must(t, err)
	return code
}

// withApp gives somebody an authenticator app and returns its secret and the recovery codes.
func withApp(t *testing.T, a *Auth, now *clock, who Identity) (string, []string) {
	t.Helper()
	app, err := a.AddApp(t.Context(), who, "phone", "Picket")
	must(t, err)
	codes, err := a.ConfirmApp(t.Context(), who, app.ID, codeAt(t, app.Secret, now.Now()), home)
	must(t, err)
	return app.Secret, codes
}

// challenge signs in with the password and returns what must follow.
func challenge(t *testing.T, a *Auth) *FactorError {
	t.Helper()
	_, _, err := a.Login(t.Context(), "ada", goodPassword, home)
	var ask *FactorError
	if !errors.As(err, &ask) {
		t.Fatalf("sign in: %v, want a second factor to be asked for", err)
	}
	return ask
}

func TestAnAppCountsOnceACodeWasConfirmed(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	app, err := a.AddApp(t.Context(), who, "phone", "Picket")
	must(t, err)
	if !strings.HasPrefix(app.URL, "otpauth://totp/Picket:ada?") || app.QR.Size < 21 || !strings.HasPrefix(app.QR.Path, "M") {
		t.Errorf("%+v", app)
	}
	if _, _, err := a.Login(t.Context(), "ada", goodPassword, home); err != nil {
		t.Errorf("an app that nobody confirmed is asked for: %v", err)
	}
	_, err = a.ConfirmApp(t.Context(), who, app.ID, "000000", home)
	wantErr(t, err, ErrWrongCode)
	codes, err := a.ConfirmApp(t.Context(), who, app.ID, codeAt(t, app.Secret, now.Now()), home)
	must(t, err)
	if len(codes) != recoveryCodes {
		t.Errorf("%d recovery codes", len(codes))
	}
	ask := challenge(t, a)
	if strings.Join(ask.Kinds, " ") != "totp recovery" {
		t.Errorf("kinds %v", ask.Kinds)
	}
	_, err = a.ConfirmApp(t.Context(), who, app.ID, codeAt(t, app.Secret, now.Now()), home)
	wantErr(t, err, store.ErrNotFound)
}

func TestANewPasswordEndsWhatTheOldOneBegan(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	secret, _ := withApp(t, a, now, who)
	now.Add(time.Minute)
	begun := challenge(t, a)
	must(t, a.SetPassword(t.Context(), who.Tenant, who.UserID, goodPassword+" but another"))
	_, _, err := a.Code(t.Context(), begun.Challenge, codeAt(t, secret, now.Now()), home)
	wantErr(t, err, ErrDenied)
	_, _, err = a.Login(t.Context(), "ada", goodPassword+" but another", home)
	var ask *FactorError
	if !errors.As(err, &ask) {
		t.Fatal(err)
	}
	_, _, err = a.Code(t.Context(), ask.Challenge, codeAt(t, secret, now.Now()), home)
	must(t, err)
}

func TestCodesCountOnceAndAStepToEachSide(t *testing.T) {
	a, now := open(t)
	secret, _ := withApp(t, a, now, ada(t, a))
	for _, c := range []struct {
		name  string
		steps int
		want  error
	}{
		{"two steps old", -2, ErrWrongCode}, {"two steps early", 2, ErrWrongCode},
		{"a step old", -1, nil}, {"now", 0, nil}, {"a step early", 1, nil},
	} {
		now.Add(10 * time.Minute)
		_, _, err := a.Code(t.Context(), challenge(t, a).Challenge, codeAt(t, secret, now.Now().Add(time.Duration(c.steps)*30*time.Second)), home)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	// The last one was a step early: neither it nor what lies before it counts any more.
	for _, steps := range []int{1, 0, -1} {
		_, _, err := a.Code(t.Context(), challenge(t, a).Challenge, codeAt(t, secret, now.Now().Add(time.Duration(steps)*30*time.Second)), home)
		wantErr(t, err, ErrWrongCode)
	}
}

func TestManyWithOneCodeAtOnce(t *testing.T) {
	a, now := open(t)
	secret, _ := withApp(t, a, now, ada(t, a))
	now.Add(time.Minute)
	code := codeAt(t, secret, now.Now())
	asks := make([]string, 4)
	for i := range asks {
		asks[i] = challenge(t, a).Challenge
	}
	results := make(chan error, len(asks))
	for _, ask := range asks {
		go func() {
			_, _, err := a.Code(t.Context(), ask, code, home)
			results <- err
		}()
	}
	in := 0
	for range asks {
		if <-results == nil {
			in++
		}
	}
	if in != 1 {
		t.Errorf("%d came in with one code", in)
	}
}

func TestRecoveryCodesCountOnce(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	_, codes := withApp(t, a, now, who)
	_, id, err := a.Code(t.Context(), challenge(t, a).Challenge, strings.ToUpper(codes[3]), home)
	must(t, err)
	if id.Method != methodRecovery {
		t.Errorf("method %s", id.Method)
	}
	_, _, err = a.Code(t.Context(), challenge(t, a).Challenge, codes[3], home)
	wantErr(t, err, ErrWrongCode)
	fresh, err := a.NewRecoveryCodes(t.Context(), who)
	must(t, err)
	_, _, err = a.Code(t.Context(), challenge(t, a).Challenge, codes[4], home)
	wantErr(t, err, ErrWrongCode)
	_, _, err = a.Code(t.Context(), challenge(t, a).Challenge, fresh[4], home)
	must(t, err)
}

// Guessing codes ends a sign-in after a few, and then takes longer and longer, from whatever address.
func TestGuessedCodesAreSlowedDown(t *testing.T) {
	a, now := open(t)
	secret, _ := withApp(t, a, now, ada(t, a))
	now.Add(time.Minute)
	ask := challenge(t, a)
	for range ticketTries {
		_, _, err := a.Code(t.Context(), ask.Challenge, "000000", home)
		wantErr(t, err, ErrWrongCode)
	}
	_, _, err := a.Code(t.Context(), ask.Challenge, codeAt(t, secret, now.Now()), home)
	wantErr(t, err, ErrWrongCode) // that sign-in is over
	_, _, err = a.Code(t.Context(), challenge(t, a).Challenge, codeAt(t, secret, now.Now()), Client{Address: "198.51.100.7"})
	var locked *LockedError
	if !errors.As(err, &locked) {
		t.Errorf("from another address: %v, want to have to wait", err)
	}
	now.Add(longestWait)
	_, _, err = a.Code(t.Context(), challenge(t, a).Challenge, codeAt(t, secret, now.Now()), home)
	must(t, err)
}

func TestAHalfDoneSignInEnds(t *testing.T) {
	a, now := open(t)
	secret, _ := withApp(t, a, now, ada(t, a))
	ask := challenge(t, a)
	now.Add(ticketLife)
	_, _, err := a.Code(t.Context(), ask.Challenge, codeAt(t, secret, now.Now()), home)
	wantErr(t, err, ErrWrongCode)
	_, _, err = a.Code(t.Context(), "made up", codeAt(t, secret, now.Now()), home)
	wantErr(t, err, ErrWrongCode)
}

func TestTicketsAreBounded(t *testing.T) {
	now := &clock{t: start}
	x := newTickets(now.Now)
	for i := range 3 * maxTickets {
		x.put(string(binary.BigEndian.AppendUint32(nil, uint32(i))), ticket{kind: ticketLogin})
	}
	if n := len(x.young) + len(x.old); n > maxTickets {
		t.Errorf("%d tickets", n)
	}
	x.put("a", ticket{kind: ticketLogin})
	if _, ok := x.take("a", ticketProve); ok {
		t.Error("a ticket of another kind")
	}
	if _, ok := x.take("a", ticketLogin); !ok {
		t.Error("the ticket is gone")
	}
	if _, ok := x.take("a", ticketLogin); ok {
		t.Error("the ticket twice")
	}
}

// A link of the machine's owner opens without a second factor, one of an administrator does not.
func TestLinksAndFactors(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	withApp(t, a, now, who)
	link, err := a.NewSignInToken(t.Context(), who.UserID)
	must(t, err)
	_, _, err = a.SignIn(t.Context(), link, home)
	must(t, err)
	link, err = a.LinkFor(t.Context(), who.Tenant, who.UserID)
	must(t, err)
	_, _, err = a.SignIn(t.Context(), link, home)
	var ask *FactorError
	if !errors.As(err, &ask) {
		t.Errorf("an administrator's link: %v", err)
	}
	_, _, _, err = a.Reset(t.Context(), "ada")
	must(t, err)
	if factors, left, _ := a.Factors(t.Context(), who.Tenant, who.UserID); len(factors) != 0 || left != 0 {
		t.Errorf("after a reset: %v, %d", factors, left)
	}
}

func TestAnInvitedUserChoosesAPassword(t *testing.T) {
	a, _ := open(t)
	who := ada(t, a)
	u, link, err := a.Invite(t.Context(), store.DefaultTenant, "Bob", RoleIT)
	must(t, err)
	_, id, err := a.SignIn(t.Context(), link, home)
	must(t, err)
	if id.UserID != u.ID || id.Role != RoleIT {
		t.Errorf("%+v", id)
	}
	_, _, err = a.SignIn(t.Context(), link, home)
	wantErr(t, err, ErrDenied)
	_, _, err = a.ChangePassword(t.Context(), id, "", goodPassword+"!", home)
	must(t, err)
	_, _, err = a.Login(t.Context(), "bob", goodPassword+"!", home)
	must(t, err)
	_, _, err = a.Invite(t.Context(), store.DefaultTenant, "bob", RoleIT)
	wantErr(t, err, store.ErrConflict)
	must(t, a.SetRole(t.Context(), who.Tenant, u.ID, RoleSUP))
	wantErr(t, a.SetRole(t.Context(), who.Tenant, who.UserID, RoleIT), store.ErrLastAdministrator)
}

func TestPolicyAndProofs(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	must(t, a.Fresh(t.Context(), who))
	now.Add(usualFresh)
	wantErr(t, a.Fresh(t.Context(), who), ErrStale)
	var input *InputError
	if err := a.Prove(t.Context(), who, "a wrong one", "", home); !errors.As(err, &input) {
		t.Errorf("a wrong password: %v", err)
	}
	must(t, a.Prove(t.Context(), who, goodPassword, "", home))
	again, err := a.Sessions(t.Context(), who.Tenant, who.UserID)
	must(t, err)
	if len(again) != 1 || !again[0].Proved.Equal(now.Now()) {
		t.Errorf("%+v", again)
	}
	// With a second factor the password alone proves nothing.
	secret, _ := withApp(t, a, now, who)
	wantErr(t, a.Prove(t.Context(), who, goodPassword, "", home), ErrWrongCode)
	now.Add(time.Minute)
	must(t, a.Prove(t.Context(), who, "", codeAt(t, secret, now.Now()), home))

	for name, p := range map[string]Policy{"no role": {SecondFactor: []string{"KING"}, Fresh: time.Hour}, "no time": {Fresh: time.Second}, "for ever": {Fresh: 48 * time.Hour}} {
		if err := a.SetPolicy(t.Context(), p); !errors.As(err, &input) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, a.SetPolicy(t.Context(), Policy{SecondFactor: []string{RoleADM}, Fresh: time.Hour}))
	factors, _, err := a.Factors(t.Context(), who.Tenant, who.UserID)
	must(t, err)
	wantErr(t, a.RemoveFactor(t.Context(), who, factors[0].ID), ErrOnlyFactor)
	must(t, a.ResetFactors(t.Context(), who.Tenant, who.UserID))
	_, id, err := a.Login(t.Context(), "ada", goodPassword, home)
	must(t, err)
	if !id.MustEnrol {
		t.Error("the role needs a second factor, and nothing asks for one")
	}
	withApp(t, a, now, id)
}

// A session that was left open does not become a proved one by a new password where a password alone proves nothing.
func TestANewPasswordIsNoProof(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	secret, _ := withApp(t, a, now, who)
	_, link, err := a.Invite(t.Context(), store.DefaultTenant, "bob", RoleADM)
	must(t, err)
	_, bob, err := a.SignIn(t.Context(), link, home)
	must(t, err)
	withApp(t, a, now, bob)
	now.Add(usualFresh + time.Minute)
	_, _, err = a.ChangePassword(t.Context(), who, goodPassword, goodPassword+"2", home)
	wantErr(t, err, ErrStale)
	_, _, err = a.ChangePassword(t.Context(), bob, "", goodPassword, home)
	wantErr(t, err, ErrStale)
	must(t, a.Prove(t.Context(), who, "", codeAt(t, secret, now.Now()), home))
	who.Proved = now.Now()
	_, _, err = a.ChangePassword(t.Context(), who, goodPassword, goodPassword+"2", home)
	must(t, err)
}

func TestTokensMayNoMoreThanTheirOwner(t *testing.T) {
	a, now := open(t)
	who := ada(t, a)
	u, err := a.CreateUser(t.Context(), "bob", goodPassword, RoleIT)
	must(t, err)
	bob := Identity{Tenant: who.Tenant, Role: RoleIT, Kind: "session", UserID: u.ID}
	var input *InputError
	if _, _, err := a.IssueToken(t.Context(), TokenWish{Name: "up", Role: RoleADM, UserID: u.ID}, bob); !errors.As(err, &input) {
		t.Errorf("more than he has: %v", err)
	}
	for _, scope := range []string{"users:admin", "nonsense", "account:self"} {
		if _, _, err := a.IssueToken(t.Context(), TokenWish{Name: "x", Role: RoleIT, Scopes: []string{scope}}, who); !errors.As(err, &input) {
			t.Errorf("scope %s: %v", scope, err)
		}
	}
	secret, row, err := a.IssueToken(t.Context(), TokenWish{Name: "ci", Role: RoleIT, Scopes: []string{"agents:read"}, UserID: u.ID, TTL: time.Hour}, bob)
	must(t, err)
	id, err := a.Token(t.Context(), secret)
	must(t, err)
	if !id.May(AgentsRead) || id.May(AgentsWrite) || id.May(Account) {
		t.Errorf("%v", id.Permissions())
	}
	now.Add(30 * time.Minute)
	rotated, row2, err := a.RotateToken(t.Context(), row, bob)
	must(t, err)
	_, err = a.Token(t.Context(), secret)
	wantErr(t, err, ErrDenied)
	if !row2.Expires.Equal(now.Now().Add(time.Hour)) {
		t.Errorf("it ends %s", row2.Expires)
	}
	// A lower role takes from the token what it takes from its owner, and who is shut out is shut out with it.
	must(t, a.SetRole(t.Context(), who.Tenant, u.ID, RolePUB))
	id, err = a.Token(t.Context(), rotated)
	must(t, err)
	if id.May(AgentsRead) {
		t.Error("the token kept what its owner lost")
	}
	must(t, a.cfg.Store.SetUserDisabled(t.Context(), who.Tenant, u.ID, true))
	_, err = a.Token(t.Context(), rotated)
	wantErr(t, err, ErrDenied)
}

// authenticator is a passkey's other side, made of a key and a counter.
type authenticator struct {
	key     *ecdsa.PrivateKey
	id      []byte
	user    []byte
	counter uint32
	flags   byte
	origin  string
}

const (
	userPresent, userVerified, attested = 0x01, 0x04, 0x40
	where                               = "https://picket.example.org"
)

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id := make([]byte, 16)
	_, err = rand.Read(id)
	must(t, err)
	return &authenticator{key: key, id: id, flags: userPresent | userVerified, origin: where}
}

func (k *authenticator) data(rp string, flags byte) []byte {
	k.counter++
	hash := sha256.Sum256([]byte(rp))
	out := append(hash[:], flags)
	return binary.BigEndian.AppendUint32(out, k.counter)
}

func (k *authenticator) client(kind, challenge string) []byte {
	raw, _ := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": k.origin, "crossOrigin": false})
	return raw
}

var b64 = base64.RawURLEncoding

// create answers navigator.credentials.create.
func (k *authenticator) create(t *testing.T, c Ceremony) []byte {
	t.Helper()
	var o struct {
		Challenge string
		RP        struct{ ID string }
		User      struct{ ID string }
	}
	must(t, json.Unmarshal(c.Options, &o))
	var err error
	k.user, err = b64.DecodeString(o.User.ID)
	must(t, err)
	public, err := cbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: k.key.X.FillBytes(make([]byte, 32)), -3: k.key.Y.FillBytes(make([]byte, 32))})
	must(t, err)
	data := k.data(o.RP.ID, k.flags|attested)
	data = append(data, make([]byte, 16)...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(k.id)))
	data = append(append(data, k.id...), public...)
	att, err := cbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	must(t, err)
	return k.answer(t, map[string]any{"clientDataJSON": b64.EncodeToString(k.client("webauthn.create", o.Challenge)), "attestationObject": b64.EncodeToString(att)})
}

// get answers navigator.credentials.get.
func (k *authenticator) get(t *testing.T, c Ceremony) []byte {
	t.Helper()
	var o struct{ Challenge, RPID string }
	must(t, json.Unmarshal(c.Options, &o))
	data := k.data(o.RPID, k.flags)
	client := k.client("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	digest := sha256.Sum256(append(bytes.Clone(data), hash[:]...))
	sig, err := ecdsa.SignASN1(rand.Reader, k.key, digest[:])
	must(t, err)
	return k.answer(t, map[string]any{"clientDataJSON": b64.EncodeToString(client), "authenticatorData": b64.EncodeToString(data),
		"signature": b64.EncodeToString(sig), "userHandle": b64.EncodeToString(k.user)})
}

func (k *authenticator) answer(t *testing.T, response map[string]any) []byte {
	t.Helper()
	raw, err := json.Marshal(map[string]any{"id": b64.EncodeToString(k.id), "rawId": b64.EncodeToString(k.id), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	must(t, err)
	return raw
}

func openAtOrigin(t *testing.T) (*Auth, *clock) {
	t.Helper()
	a, now := open(t)
	a.cfg.Origin = where
	return a, now
}

func TestPasskeys(t *testing.T) {
	a, _ := openAtOrigin(t)
	who := ada(t, a)
	key := newAuthenticator(t)
	c, err := a.AddPasskey(t.Context(), who, "")
	must(t, err)
	made := key.create(t, c)
	codes, err := a.ConfirmPasskey(t.Context(), who, c.State, "laptop", "", made)
	must(t, err)
	if len(codes) != recoveryCodes {
		t.Errorf("%d recovery codes with the first factor", len(codes))
	}
	_, err = a.ConfirmPasskey(t.Context(), who, c.State, "again", "", made)
	wantErr(t, err, ErrWrongCode)
	second := newAuthenticator(t)
	c, err = a.AddPasskey(t.Context(), who, "")
	must(t, err)
	if codes, err = a.ConfirmPasskey(t.Context(), who, c.State, "key ring", "", second.create(t, c)); err != nil || len(codes) != 0 {
		t.Errorf("the second: %v, %v", codes, err)
	}

	begin := func() Ceremony {
		t.Helper()
		c, err := a.BeginPasskey("")
		must(t, err)
		return c
	}
	c = begin()
	said := key.get(t, c)
	_, id, err := a.Passkey(t.Context(), c.State, "", said, home)
	must(t, err)
	if id.Name != "ada" || id.Method != methodPasskey {
		t.Errorf("%+v", id)
	}
	refused := func(name, state string, response []byte) {
		t.Helper()
		a.lockout = newLockout(a.cfg.Now)
		if _, _, err := a.Passkey(t.Context(), state, "", response, home); !errors.Is(err, ErrWrongCode) {
			t.Errorf("%s: %v", name, err)
		}
	}
	refused("the same answer again", c.State, said)
	refused("an answer to another question", begin().State, said)
	c = begin()
	key.origin = "https://picket.example.org.evil.example"
	refused("from another site", c.State, key.get(t, c))
	key.origin = where
	c = begin()
	key.flags = userPresent
	refused("without the user being verified", c.State, key.get(t, c))
	key.flags |= userVerified
	c = begin()
	key.counter = 0
	refused("a copy of it, whose counter is behind", c.State, key.get(t, c))
	key.counter = 100
	c = begin()
	stranger := newAuthenticator(t)
	stranger.user = key.user
	refused("a key that nobody registered", c.State, stranger.get(t, c))
	c = begin()
	stranger.id = key.id
	refused("another key under its name", c.State, stranger.get(t, c))
	c = begin()
	key.user = []byte("somebody else")
	refused("for another user", c.State, key.get(t, c))
	key.user = []byte(who.UserID)
	refused("rubbish", begin().State, []byte(`{"id":"x"}`))

	a.lockout = newLockout(a.cfg.Now)
	prove, err := a.BeginProof(t.Context(), who, "")
	must(t, err)
	must(t, a.ProvePasskey(t.Context(), who, prove.State, "", key.get(t, prove), home))
	prove, err = a.BeginProof(t.Context(), who, "")
	must(t, err)
	_, _, err = a.Passkey(t.Context(), prove.State, "", key.get(t, prove), home)
	wantErr(t, err, ErrWrongCode) // a proof is no sign-in

	must(t, a.cfg.Store.SetUserDisabled(t.Context(), who.Tenant, who.UserID, true))
	a.lockout = newLockout(a.cfg.Now)
	c = begin()
	refused("of a disabled user", c.State, key.get(t, c))
}

func TestPasskeysBelongToTheConfiguredName(t *testing.T) {
	a, _ := open(t)
	for origin, want := range map[string]bool{"http://localhost:8080": true, "https://localhost": true, "http://127.0.0.1:8080": false,
		"https://picket.example.org": false, "": false, "http://localhost.evil.example": false} {
		if got := a.PasskeysAt(origin); got != want {
			t.Errorf("without a configured address, at %q: %t", origin, got)
		}
	}
	a.cfg.Origin = where
	rp, err := a.relyingParty("https://evil.example")
	must(t, err)
	if rp.Config.RPID != "picket.example.org" {
		t.Errorf("the browser's address counts more than the configured one: %s", rp.Config.RPID)
	}
	a.cfg.Origin = "https://192.0.2.1"
	if a.PasskeysAt("http://localhost") {
		t.Error("passkeys of an IP address")
	}
}
