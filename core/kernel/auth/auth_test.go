package auth

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
)

var start = time.Date(2026, 11, 4, 12, 0, 0, 0, time.UTC)

type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

const goodPassword = "correct horse battery"

var home = Client{Address: "192.0.2.1", UserAgent: "test"}

func open(t *testing.T) (*Auth, *clock) {
	t.Helper()
	now := &clock{t: start}
	dir := t.TempDir()
	c, err := store.OpenControl(t.Context(), store.ControlConfig{Path: filepath.Join(dir, "data", "control.db"),
		KeyFile: filepath.Join(dir, "key"), Now: now.Now})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	a, err := New(Config{Store: c, Now: now.Now, cost: cost{time: 1, memory: 64}})
	must(t, err)
	return a, now
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got %v, want %v", err, want)
	}
}

func setUp(t *testing.T, a *Auth) (secret string, id Identity) {
	t.Helper()
	link, err := a.NewSetupToken(t.Context())
	must(t, err)
	secret, id, err = a.Setup(t.Context(), link, "Ada", goodPassword, home)
	must(t, err)
	return secret, id
}

func TestSetupHappensOnce(t *testing.T) {
	a, now := open(t)
	ctx := t.Context()
	if needed, err := a.SetupNeeded(ctx); err != nil || !needed {
		t.Fatalf("needed %t, %v", needed, err)
	}
	old, err := a.NewSetupToken(ctx)
	must(t, err)
	now.Add(25 * time.Hour)
	_, _, err = a.Setup(ctx, old, "ada", goodPassword, home)
	wantErr(t, err, ErrDenied)
	_, _, err = a.Setup(ctx, "guess", "ada", goodPassword, home)
	wantErr(t, err, ErrDenied)

	first, err := a.NewSetupToken(ctx)
	must(t, err)
	second, err := a.NewSetupToken(ctx)
	must(t, err)
	var input *InputError
	if _, _, err = a.Setup(ctx, first, "ada", "short", home); !errors.As(err, &input) || input.Field != "password" {
		t.Fatalf("short password: %v", err)
	}
	secret, id, err := a.Setup(ctx, first, "Ada", goodPassword, home) // a refused password does not spend the link
	must(t, err)
	if id.Role != RoleADM || id.Name != "ada" || id.CSRF == "" || id.Actor() != "user:ada" {
		t.Errorf("identity %+v", id)
	}
	_, _, err = a.Setup(ctx, second, "eve", goodPassword, home)
	wantErr(t, err, ErrSetupDone)
	_, err = a.NewSetupToken(ctx)
	wantErr(t, err, ErrSetupDone)
	again, err := a.Session(ctx, secret)
	must(t, err)
	if again.CSRF != id.CSRF || again.UserID != id.UserID {
		t.Errorf("session %+v", again)
	}
}

// Setup needs no name and no session, so once it is done it must not take a hasher from those who sign in.
func TestSetupThatIsDoneHashesNothing(t *testing.T) {
	a, _ := open(t)
	setUp(t, a)
	for range cap(a.hasher.waiting) {
		a.hasher.waiting <- struct{}{}
	}
	_, _, err := a.Setup(t.Context(), "guess", "eve", goodPassword, home)
	wantErr(t, err, ErrSetupDone)
}

func TestLogin(t *testing.T) {
	a, _ := open(t)
	ctx := t.Context()
	_, admin := setUp(t, a)
	_, _, err := a.Login(ctx, " ADA ", goodPassword, home)
	must(t, err)
	_, _, wrong := a.Login(ctx, "ada", "wrong password", home)
	_, _, unknown := a.Login(ctx, "nobody", "wrong password", home)
	wantErr(t, wrong, ErrDenied)
	if wrong.Error() != unknown.Error() {
		t.Errorf("a stranger can tell who exists: %q, %q", wrong, unknown)
	}
	link, err := a.EnsureUser(ctx, "dev", RoleADM)
	must(t, err)
	_, _, err = a.Login(ctx, "dev", "", home)
	wantErr(t, err, ErrDenied)
	a.hasher.decoy, err = a.hasher.hash(ctx, goodPassword)
	must(t, err)
	_, _, err = a.Login(ctx, "dev", goodPassword, home) // who fits the decoy is nobody all the same
	wantErr(t, err, ErrDenied)
	again, err := a.EnsureUser(ctx, "dev", RoleADM)
	must(t, err)
	if again.ID != link.ID {
		t.Error("EnsureUser made a second user")
	}

	must(t, a.SetPassword(ctx, store.DefaultTenant, admin.UserID, goodPassword+"2"))
	_, _, err = a.Login(ctx, "ada", goodPassword, home)
	wantErr(t, err, ErrDenied)
	_, _, err = a.Login(ctx, "ada", goodPassword+"2", home)
	must(t, err)
}

func TestLockout(t *testing.T) {
	a, now := open(t)
	ctx := t.Context()
	setUp(t, a)
	var locked *LockedError
	for i := range freeFailures {
		if _, _, err := a.Login(ctx, "ada", "wrong", home); !errors.Is(err, ErrDenied) {
			t.Fatalf("try %d: %v", i+1, err)
		}
	}
	if _, _, err := a.Login(ctx, "ada", goodPassword, home); !errors.As(err, &locked) || locked.RetryAfter != firstWait {
		t.Fatalf("after %d failures even the right password must wait: %v", freeFailures, err)
	}
	if _, _, err := a.Login(ctx, "ada", goodPassword, Client{Address: "192.0.2.2"}); err != nil {
		t.Errorf("another address is locked out too: %v", err)
	}
	now.Add(firstWait)
	if _, _, err := a.Login(ctx, "ada", "wrong", home); !errors.Is(err, ErrDenied) {
		t.Fatal(err)
	}
	if _, _, err := a.Login(ctx, "ada", "wrong", home); !errors.As(err, &locked) || locked.RetryAfter != 2*firstWait {
		t.Errorf("the wait must double: %v", err)
	}
	now.Add(2 * firstWait)
	_, _, err := a.Login(ctx, "ada", goodPassword, home)
	must(t, err)
	if _, _, err := a.Login(ctx, "ada", "wrong", home); !errors.Is(err, ErrDenied) {
		t.Errorf("a success must forget the failures: %v", err)
	}
	// The same without a user of that name.
	for range freeFailures {
		_, _, _ = a.Login(ctx, "nobody", "x", home)
	}
	if _, _, err = a.Login(ctx, "nobody", "x", home); !errors.As(err, &locked) {
		t.Errorf("an unknown name is not locked out, which tells that it is unknown: %v", err)
	}
}

func TestLockoutIsBounded(t *testing.T) {
	now := &clock{t: start}
	l := newLockout(now.Now)
	for range freeFailures {
		l.begin("ada", "192.0.2.1", "192.0.2.1")
	}
	for i := range 3 * maxTracked {
		l.begin("ada", fmt.Sprint(i), fmt.Sprint(i))
		if i%1000 == 0 && wait(l.begin("ada", "192.0.2.1", "192.0.2.1")) == 0 {
			t.Fatalf("after %d others the first is free again", i)
		}
	}
	if n := len(l.young) + len(l.old); n > maxTracked {
		t.Errorf("%d entries, the most is %d", n, maxTracked)
	}
	l = newLockout(now.Now)
	for i := range 10 * freePerAddress {
		l.begin(fmt.Sprint("user", i), "203.0.113.9", "203.0.113.9")
	}
	if n := len(l.young); n > freePerAddress+2 {
		t.Errorf("one address that is locked out made %d entries", n)
	}
}

func TestManyGuessesAtOnceGainNothing(t *testing.T) {
	a, _ := open(t)
	setUp(t, a)
	var mu sync.Mutex
	checked := 0
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, _, err := a.Login(context.WithoutCancel(t.Context()), "ada", "wrong", home); errors.Is(err, ErrDenied) {
				mu.Lock()
				checked++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if checked > freeFailures {
		t.Errorf("%d guesses were checked, %d are free", checked, freeFailures)
	}
}

func TestSessionsEnd(t *testing.T) {
	a, now := open(t)
	ctx := t.Context()
	secret, id := setUp(t, a)
	_, err := a.Session(ctx, "guess")
	wantErr(t, err, ErrDenied)
	for range 10 { // used now and then, a session lives beyond the idle limit
		now.Add(11 * time.Hour)
		_, err := a.Session(ctx, secret)
		must(t, err)
	}
	now.Add(13 * time.Hour)
	_, err = a.Session(ctx, secret)
	wantErr(t, err, ErrDenied)

	secret, _, err = a.Login(ctx, "ada", goodPassword, home)
	must(t, err)
	for range 15 { // 7.5 days of use
		now.Add(12 * time.Hour)
		if _, err = a.Session(ctx, secret); err != nil {
			break
		}
	}
	wantErr(t, err, ErrDenied)

	secret, _, err = a.Login(ctx, "ada", goodPassword, home)
	must(t, err)
	must(t, a.Logout(ctx, secret))
	must(t, a.Logout(ctx, secret))
	_, err = a.Session(ctx, secret)
	wantErr(t, err, ErrDenied)

	secret, _, err = a.Login(ctx, "ada", goodPassword, home)
	must(t, err)
	must(t, a.SetPassword(ctx, store.DefaultTenant, id.UserID, goodPassword))
	_, err = a.Session(ctx, secret)
	wantErr(t, err, ErrDenied)
}

func TestSignInLinkWorksOnce(t *testing.T) {
	a, now := open(t)
	ctx := t.Context()
	u, err := a.EnsureUser(ctx, "admin", RoleADM)
	must(t, err)
	link, err := a.NewSignInToken(ctx, u.ID)
	must(t, err)
	_, id, err := a.SignIn(ctx, link, home)
	must(t, err)
	if id.Name != "admin" {
		t.Errorf("identity %+v", id)
	}
	_, _, err = a.SignIn(ctx, link, home)
	wantErr(t, err, ErrDenied)
	link, err = a.NewSignInToken(ctx, u.ID)
	must(t, err)
	now.Add(15 * time.Minute)
	_, _, err = a.SignIn(ctx, link, home)
	wantErr(t, err, ErrDenied)
}

func TestAPITokens(t *testing.T) {
	a, now := open(t)
	ctx := t.Context()
	secret, row, err := a.CreateToken(ctx, "ci", RoleIT, "user:ada", time.Hour)
	must(t, err)
	if !strings.HasPrefix(secret, "picket_") || strings.Contains(fmt.Sprintf("%+v", row), secret) || string(row.Hash) == secret {
		t.Errorf("token %q, row %+v", secret, row)
	}
	id, err := a.Token(ctx, secret)
	must(t, err)
	if id.Role != RoleIT || id.Actor() != "token:ci" || id.CSRF != "" {
		t.Errorf("identity %+v", id)
	}
	for _, wrong := range []string{"", "picket_", secret + "x", strings.TrimPrefix(secret, "picket_")} {
		_, err := a.Token(ctx, wrong)
		wantErr(t, err, ErrDenied)
	}
	list, err := a.Tokens(ctx, store.DefaultTenant, "")
	must(t, err)
	if len(list) != 1 || list[0].LastUsed.IsZero() {
		t.Errorf("tokens %+v", list)
	}
	now.Add(time.Hour)
	_, err = a.Token(ctx, secret)
	wantErr(t, err, ErrDenied)

	secret, row, err = a.CreateToken(ctx, "ci", RoleADM, "user:ada", 0)
	must(t, err)
	now.Add(10_000 * time.Hour)
	_, err = a.Token(ctx, secret)
	must(t, err)
	must(t, a.RevokeToken(ctx, store.DefaultTenant, row.ID))
	_, err = a.Token(ctx, secret)
	wantErr(t, err, ErrDenied)
	var input *InputError
	if _, _, err := a.CreateToken(ctx, "ci", "ROOT", "", 0); !errors.As(err, &input) {
		t.Errorf("unknown role: %v", err)
	}
}

// The cost of real hashes, and that a hash of another cost still verifies.
func TestUsualCost(t *testing.T) {
	a, _ := open(t)
	usual, err := newHasher(1, a.cfg.Rand, usualCost)
	must(t, err)
	hash, err := usual.hash(t.Context(), goodPassword)
	must(t, err)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=32768,t=3,p=1$") {
		t.Errorf("hash %s", hash)
	}
	if ok, err := a.hasher.verify(t.Context(), goodPassword, hash); !ok || err != nil {
		t.Errorf("verify: %t, %v", ok, err)
	}
}

func TestStoredHashesAreChecked(t *testing.T) {
	a, _ := open(t)
	for _, hash := range []string{"x", "$argon2id$v=19$m=999999999,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5", "$argon2i$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$a2V5",
		"$argon2id$v=19$m=64,t=0,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5", "$argon2id$v=19$m=64,t=1,p=1$$"} {
		if ok, err := a.hasher.verify(t.Context(), "x", hash); ok || err == nil {
			t.Errorf("%q: %t, %v", hash, ok, err)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := parsePHC(text); err == nil && (p.memory > 4<<20 || p.time > 100) {
			t.Fatalf("%q asks for %d KiB and %d rounds", text, p.memory, p.time)
		}
	})
}

func wait(d time.Duration, _ func()) time.Duration { return d }

// broken fails as a store does whose disk is full.
type broken struct {
	Store
	fail bool
}

func (b *broken) UserByName(ctx context.Context, tenant, name string) (store.User, error) {
	if b.fail {
		return store.User{}, errors.New("disk full")
	}
	return b.Store.UserByName(ctx, tenant, name)
}

func TestOnlyAWrongPasswordCountsAsOne(t *testing.T) {
	a, _ := open(t)
	setUp(t, a)
	b := &broken{Store: a.cfg.Store, fail: true}
	a.cfg.Store = b
	for range 3 * freePerAddress {
		if _, _, err := a.Login(t.Context(), "ada", goodPassword, home); err == nil || errors.As(err, new(*LockedError)) {
			t.Fatalf("with a broken store: %v", err)
		}
	}
	b.fail = false
	for range cap(a.hasher.waiting) {
		a.hasher.waiting <- struct{}{}
	}
	for range 3 * freePerAddress {
		_, _, err := a.Login(t.Context(), "ada", goodPassword, home)
		wantErr(t, err, ErrBusy)
	}
	for range cap(a.hasher.waiting) {
		<-a.hasher.waiting
	}
	_, _, err := a.Login(t.Context(), "ada", goodPassword, home)
	must(t, err)
	for range freeFailures {
		_, _, err = a.Login(t.Context(), "ada", "wrong password", home)
		wantErr(t, err, ErrDenied)
	}
	if _, _, err = a.Login(t.Context(), "ada", "wrong password", home); !errors.As(err, new(*LockedError)) {
		t.Errorf("wrong passwords no longer count: %v", err)
	}
}

func TestAUserWithoutAPasswordCanBeSetUp(t *testing.T) {
	a, _ := open(t)
	ctx := t.Context()
	u, err := a.EnsureUser(ctx, "admin", RoleADM)
	must(t, err)
	if needed, err := a.SetupNeeded(ctx); err != nil || !needed {
		t.Fatalf("nobody can sign in, but needed is %t, %v", needed, err)
	}
	link, err := a.NewSetupToken(ctx)
	must(t, err)
	_, id, err := a.Setup(ctx, link, "admin", goodPassword, home)
	must(t, err)
	if id.UserID != u.ID {
		t.Error("a second user of the same name")
	}
	_, _, err = a.Login(ctx, "admin", goodPassword, home)
	must(t, err)
	if needed, _ := a.SetupNeeded(ctx); needed {
		t.Error("set-up is still offered")
	}
}

func TestReset(t *testing.T) {
	a, _ := open(t)
	ctx := t.Context()
	secret, ada := setUp(t, a)
	must(t, a.cfg.Store.SetUserDisabled(ctx, store.DefaultTenant, ada.UserID, true))
	var input *InputError
	if _, _, _, err := a.Reset(ctx, "eve"); !errors.As(err, &input) || !strings.Contains(err.Error(), "ada") {
		t.Errorf("an unknown name: %v", err)
	}
	u, page, link, err := a.Reset(ctx, "") // the only user there is
	must(t, err)
	if u.ID != ada.UserID || page != "/setup" {
		t.Errorf("%s of %+v", page, u)
	}
	_, err = a.Session(ctx, secret)
	wantErr(t, err, ErrDenied)
	_, _, err = a.Login(ctx, "ada", goodPassword, home)
	wantErr(t, err, ErrDenied)
	_, _, err = a.Setup(ctx, link, "ada", goodPassword+"2", home)
	must(t, err)
	_, _, err = a.Setup(ctx, link, "ada", goodPassword+"3", home)
	wantErr(t, err, ErrSetupDone)

	// With another administrator left, the way back is a sign-in link.
	_, err = a.CreateUser(ctx, "bob", goodPassword, RoleADM)
	must(t, err)
	u, page, link, err = a.Reset(ctx, "bob")
	must(t, err)
	if page != "/signin" {
		t.Errorf("%s", page)
	}
	_, bob, err := a.SignIn(ctx, link, home)
	must(t, err)
	if bob.UserID != u.ID {
		t.Errorf("the link signs in %+v", bob)
	}
}

func TestChangePassword(t *testing.T) {
	a, _ := open(t)
	ctx := t.Context()
	old, ada := setUp(t, a)
	var input *InputError
	if _, _, err := a.ChangePassword(ctx, ada, "wrong password", goodPassword+"2", home); !errors.As(err, &input) || input.Field != "current" {
		t.Errorf("a wrong one: %v", err)
	}
	if _, _, err := a.ChangePassword(ctx, ada, goodPassword, "short", home); !errors.As(err, &input) || input.Field != "new" {
		t.Errorf("a short one: %v", err)
	}
	secret, _, err := a.ChangePassword(ctx, ada, goodPassword, goodPassword+"2", home)
	must(t, err)
	_, err = a.Session(ctx, old)
	wantErr(t, err, ErrDenied)
	_, err = a.Session(ctx, secret)
	must(t, err)
	for range freeFailures {
		_, _, _ = a.ChangePassword(ctx, ada, "guess", goodPassword, home)
	}
	if _, _, err := a.ChangePassword(ctx, ada, "guess", goodPassword, home); !errors.As(err, new(*LockedError)) {
		t.Errorf("guessing with a session: %v", err)
	}
	dev, err := a.EnsureUser(ctx, "dev", RoleADM)
	must(t, err)
	link, err := a.NewSignInToken(ctx, dev.ID)
	must(t, err)
	_, id, err := a.SignIn(ctx, link, home)
	must(t, err)
	_, _, err = a.ChangePassword(ctx, id, "", goodPassword, home)
	must(t, err)
	_, _, err = a.Login(ctx, "dev", goodPassword, home)
	must(t, err)
}
