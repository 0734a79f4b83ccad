package auth

import (
	"context"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/picketwatch/picket/core/kernel/store"
)

const (
	codePeriod    = 30 // seconds
	codeSkew      = 1  // steps before and after now
	recoveryCodes = 10
	recoveryBytes = 10 // 80 bits: one round of a hash is enough
	maxFactors    = 20 // of a user
)

// ErrWrongCode is the answer to every code that opens nothing: wrong, used before, or of a sign-in that is over.
var ErrWrongCode = errors.New("this code is wrong, was used already, or came too late")

// ErrOnlyFactor refuses to take away the last factor of somebody whose role needs one.
var ErrOnlyFactor = errors.New("your role needs a second factor, and this is your last one; add another first")

// NewApp is an authenticator app that waits for its first code.
type NewApp struct {
	ID, Secret, URL string
	QR              Squares
}

// Squares is a QR code: Size squares each way, and the path that draws the dark ones in SVG.
type Squares struct {
	Size int    `json:"size"`
	Path string `json:"path"`
}

// AddApp begins to register an authenticator app. It counts once a code of it was confirmed.
func (a *Auth) AddApp(ctx context.Context, who Identity, name, issuer string) (NewApp, error) {
	if err := a.mayAddFactor(ctx, who, name); err != nil {
		return NewApp{}, err
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: issuer, AccountName: who.Name, Period: codePeriod, SecretSize: 20,
		Algorithm: otp.AlgorithmSHA1, Digits: otp.DigitsSix, Rand: a.cfg.Rand}) // what every app understands
	if err != nil {
		return NewApp{}, fmt.Errorf("make secret: %w", err)
	}
	squares, err := squares(key.URL())
	if err != nil {
		return NewApp{}, err
	}
	id, err := newID()
	if err != nil {
		return NewApp{}, err
	}
	f := store.Factor{ID: id, Tenant: who.Tenant, UserID: who.UserID, Kind: store.FactorTOTP, Name: strings.TrimSpace(name),
		Secret: key.Secret(), Created: a.cfg.Now()}
	return NewApp{ID: id, Secret: key.Secret(), URL: key.URL(), QR: squares}, a.cfg.Store.AddFactor(ctx, f)
}

func squares(text string) (Squares, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return Squares{}, fmt.Errorf("draw QR code: %w", err)
	}
	n := code.Bounds().Dx()
	var path strings.Builder
	for y := range n {
		for x := 0; x < n; x++ {
			if !dark(code, x, y) {
				continue
			}
			from := x
			for x < n && dark(code, x, y) {
				x++
			}
			fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", from, y, x-from, x-from)
		}
	}
	return Squares{Size: n, Path: path.String()}, nil
}

func dark(code barcode.Barcode, x, y int) bool {
	r, _, _, _ := code.At(x, y).RGBA()
	return r == 0
}

// ConfirmApp takes the first code of an app. With the first factor of a user come recovery codes, which nobody can see again.
func (a *Auth) ConfirmApp(ctx context.Context, who Identity, id, code string, from Client) ([]string, error) {
	factors, err := a.cfg.Store.Factors(ctx, who.Tenant, who.UserID)
	if err != nil {
		return nil, err
	}
	first := true
	var app store.Factor
	for _, f := range factors {
		first = first && !f.Confirmed
		if f.ID == id && f.Kind == store.FactorTOTP && !f.Confirmed {
			app = f
		}
	}
	if app.ID == "" {
		return nil, store.ErrNotFound
	}
	if err := a.guessing(who.UserID, from, func() error { return a.useCode(ctx, []store.Factor{app}, code) }); err != nil {
		return nil, err
	}
	return a.afterFactor(ctx, who, first)
}

// afterFactor is what a new factor brings: this session was just proved, and recovery codes come with the first.
func (a *Auth) afterFactor(ctx context.Context, who Identity, first bool) ([]string, error) {
	if err := a.cfg.Store.ProveSession(ctx, who.ID, a.cfg.Now()); err != nil || !first {
		return nil, err
	}
	return a.NewRecoveryCodes(ctx, who)
}

// NewRecoveryCodes replaces the recovery codes of a user, and returns them for the only time.
func (a *Auth) NewRecoveryCodes(ctx context.Context, who Identity) ([]string, error) {
	codes := make([]string, recoveryCodes)
	hashes := make([][]byte, recoveryCodes)
	for i := range codes {
		raw := make([]byte, recoveryBytes)
		if _, err := io.ReadFull(a.cfg.Rand, raw); err != nil {
			return nil, fmt.Errorf("make recovery codes: %w", err)
		}
		plain := strings.ToLower(base32.StdEncoding.EncodeToString(raw))
		codes[i] = plain[:4] + "-" + plain[4:8] + "-" + plain[8:12] + "-" + plain[12:]
		hashes[i] = hashSecret(plain)
	}
	return codes, a.cfg.Store.PutRecoveryCodes(ctx, who.Tenant, who.UserID, hashes)
}

// guessing slows down who guesses codes: of one user from wherever they come, and of one address.
func (a *Auth) guessing(userID string, from Client, check func() error) error {
	wait, undo := a.lockout.begin("code\x00"+userID, "", from.Address)
	if wait > 0 {
		return &LockedError{RetryAfter: wait}
	}
	err := check()
	switch {
	case err == nil:
		a.lockout.success("code\x00"+userID, "", from.Address)
	case !errors.Is(err, ErrWrongCode):
		undo()
	}
	return err
}

// useCode takes a code of one of the apps, or ErrWrongCode.
func (a *Auth) useCode(ctx context.Context, apps []store.Factor, code string) error {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "")
	now := a.cfg.Now()
	at := now.Unix() / codePeriod
	for _, f := range apps {
		if f.Kind != store.FactorTOTP {
			continue
		}
		for step := at - codeSkew; step <= at+codeSkew; step++ {
			want, err := totp.GenerateCodeCustom(f.Secret, time.Unix(step*codePeriod, 0), totp.ValidateOpts{Period: codePeriod, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
			if err != nil {
				return fmt.Errorf("compute code: %w", err)
			}
			if subtle.ConstantTimeCompare([]byte(want), []byte(code)) != 1 {
				continue
			}
			if err := a.cfg.Store.UseStep(ctx, f.Tenant, f.ID, step, now); !errors.Is(err, store.ErrUsed) {
				return err
			}
		}
	}
	return ErrWrongCode
}

// useAnyCode takes a code of one of the user's apps, or one of their recovery codes. recovered says which it was.
func (a *Auth) useAnyCode(ctx context.Context, tenant, userID, code string) (recovered bool, err error) {
	factors, err := a.confirmed(ctx, tenant, userID)
	if err != nil {
		return false, err
	}
	if err := a.useCode(ctx, factors, code); !errors.Is(err, ErrWrongCode) {
		return false, err
	}
	plain := strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(code)))
	err = a.cfg.Store.SpendRecoveryCode(ctx, tenant, userID, hashSecret(plain), a.cfg.Now())
	if errors.Is(err, store.ErrNotFound) {
		return false, ErrWrongCode
	}
	return true, err
}

func (a *Auth) confirmed(ctx context.Context, tenant, userID string) ([]store.Factor, error) {
	factors, err := a.cfg.Store.Factors(ctx, tenant, userID)
	out := factors[:0]
	for _, f := range factors {
		if f.Confirmed {
			out = append(out, f)
		}
	}
	return out, err
}

func (a *Auth) mayAddFactor(ctx context.Context, who Identity, name string) error {
	if name = strings.TrimSpace(name); name == "" || len(name) > 100 {
		return &InputError{"name", "must have 1 to 100 characters"}
	}
	factors, err := a.cfg.Store.Factors(ctx, who.Tenant, who.UserID)
	if err == nil && len(factors) >= maxFactors {
		err = &InputError{"name", fmt.Sprintf("you have %d factors already; remove one first", maxFactors)}
	}
	return err
}

// Factors lists the factors of a user that count, and how many recovery codes are left.
func (a *Auth) Factors(ctx context.Context, tenant, userID string) ([]store.Factor, int, error) {
	factors, err := a.confirmed(ctx, tenant, userID)
	if err != nil {
		return nil, 0, err
	}
	left, err := a.cfg.Store.RecoveryCodesLeft(ctx, tenant, userID)
	return factors, left, err
}

// RenameFactor gives one's own factor another name.
func (a *Auth) RenameFactor(ctx context.Context, who Identity, id, name string) error {
	if name = strings.TrimSpace(name); name == "" || len(name) > 100 {
		return &InputError{"name", "must have 1 to 100 characters"}
	}
	return a.cfg.Store.RenameFactor(ctx, who.Tenant, who.UserID, id, name)
}

// RemoveFactor takes one's own factor away.
func (a *Auth) RemoveFactor(ctx context.Context, who Identity, id string) error {
	factors, err := a.confirmed(ctx, who.Tenant, who.UserID)
	if err != nil {
		return err
	}
	policy, err := a.Policy(ctx)
	if err != nil {
		return err
	}
	if policy.Needs(who.Role) && len(factors) == 1 && factors[0].ID == id {
		return ErrOnlyFactor
	}
	return a.cfg.Store.DeleteFactor(ctx, who.Tenant, who.UserID, id)
}
