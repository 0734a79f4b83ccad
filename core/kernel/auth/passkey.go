package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/picketwatch/picket/core/kernel/store"
)

// ErrNoOrigin says that passkeys cannot be used at the address that somebody came by.
var ErrNoOrigin = errors.New("passkeys belong to a name and not to an IP address: set public_url in picketd.yaml and come by that address, or by http://localhost on the server itself")

// Ceremony is what a browser needs to use or make a passkey, and the state to send back with what it answers.
type Ceremony struct {
	State   string          `json:"state"`
	Options json.RawMessage `json:"options"`
}

// Kinds of ceremony, each with a ticket of its own so that none can be taken for another.
const (
	ticketRegister = "passkey-register"
	ticketLogin    = "passkey-login"
	ticketProve    = "passkey-prove"
)

// relyingParty is this server as passkeys know it: the host of the address that the operator configured. Without one it is
// localhost, for those who come by that name.
func (a *Auth) relyingParty(origin string) (*webauthn.WebAuthn, error) {
	if a.cfg.Origin != "" {
		origin = a.cfg.Origin
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || a.cfg.Origin == "" && u.Hostname() != "localhost" {
		return nil, ErrNoOrigin
	}
	w, err := webauthn.New(&webauthn.Config{RPID: u.Hostname(), RPDisplayName: "Picket", RPOrigins: []string{u.Scheme + "://" + u.Host}})
	if err != nil {
		return nil, ErrNoOrigin // an IP address
	}
	return w, nil
}

// PasskeysAt reports whether passkeys can be used by who came by that address.
func (a *Auth) PasskeysAt(origin string) bool {
	_, err := a.relyingParty(origin)
	return err == nil
}

// keyHolder is a user as the library wants to see one.
type keyHolder struct {
	id, name string
	keys     []webauthn.Credential
}

func (k keyHolder) WebAuthnID() []byte                         { return []byte(k.id) }
func (k keyHolder) WebAuthnName() string                       { return k.name }
func (k keyHolder) WebAuthnDisplayName() string                { return k.name }
func (k keyHolder) WebAuthnCredentials() []webauthn.Credential { return k.keys }

func (a *Auth) keyHolder(ctx context.Context, tenant, userID, name string) (keyHolder, error) {
	factors, err := a.confirmed(ctx, tenant, userID)
	if err != nil {
		return keyHolder{}, err
	}
	k := keyHolder{id: userID, name: name}
	for _, f := range factors {
		if f.Kind != store.FactorPasskey {
			continue
		}
		var c webauthn.Credential
		if err := json.Unmarshal(f.Body, &c); err != nil {
			return keyHolder{}, fmt.Errorf("read passkey %s: %w", f.ID, err)
		}
		k.keys = append(k.keys, c)
	}
	return k, nil
}

// AddPasskey begins to register a passkey. origin is the address that the browser came by.
func (a *Auth) AddPasskey(ctx context.Context, who Identity, origin string) (Ceremony, error) {
	rp, err := a.relyingParty(origin)
	if err != nil {
		return Ceremony{}, err
	}
	if who.Method == methodOIDC {
		return Ceremony{}, &InputError{"name", elsewhere}
	}
	if err := a.mayAddFactor(ctx, who, "passkey"); err != nil {
		return Ceremony{}, err
	}
	k, err := a.keyHolder(ctx, who.Tenant, who.UserID, who.Name)
	if err != nil {
		return Ceremony{}, err
	}
	required := true
	options, session, err := rp.BeginRegistration(k,
		webauthn.WithAuthenticatorSelection(protocol.AuthenticatorSelection{ResidentKey: protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: &required, UserVerification: protocol.VerificationRequired}),
		webauthn.WithExclusions(webauthn.Credentials(k.keys).CredentialDescriptors()),
		webauthn.WithConveyancePreference(protocol.PreferNoAttestation))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin a passkey: %w", err)
	}
	return a.ceremony(ticketRegister, who.UserID, session, options.Response)
}

// ceremony keeps what the server must remember until the browser answers.
func (a *Auth) ceremony(kind, userID string, session *webauthn.SessionData, options any) (Ceremony, error) {
	state, err := a.secret()
	if err != nil {
		return Ceremony{}, err
	}
	kept, err := json.Marshal(session)
	if err != nil {
		return Ceremony{}, fmt.Errorf("keep passkey ceremony: %w", err)
	}
	raw, err := json.Marshal(options)
	if err != nil {
		return Ceremony{}, fmt.Errorf("describe passkey ceremony: %w", err)
	}
	a.ticketsFor(kind).put(state, ticket{kind: kind, userID: userID, session: kept})
	return Ceremony{State: state, Options: raw}, nil
}

func (a *Auth) ticketsFor(kind string) *tickets {
	if kind == ticketLogin {
		return a.strangers
	}
	return a.tickets
}

// answered takes a ceremony's ticket; ErrWrongCode when there is none.
func (a *Auth) answered(state, kind string) (ticket, webauthn.SessionData, error) {
	t, ok := a.ticketsFor(kind).take(state, kind)
	if !ok {
		return ticket{}, webauthn.SessionData{}, ErrWrongCode
	}
	var session webauthn.SessionData
	if err := json.Unmarshal(t.session, &session); err != nil {
		return ticket{}, session, fmt.Errorf("read passkey ceremony: %w", err)
	}
	return t, session, nil
}

// ConfirmPasskey keeps the passkey that the browser made. With the first factor of a user come recovery codes.
func (a *Auth) ConfirmPasskey(ctx context.Context, who Identity, state, name, origin string, response []byte) ([]string, error) {
	rp, err := a.relyingParty(origin)
	if err != nil {
		return nil, err
	}
	if err := a.mayAddFactor(ctx, who, name); err != nil {
		return nil, err
	}
	t, session, err := a.answered(state, ticketRegister)
	if err != nil {
		return nil, err
	}
	if t.userID != who.UserID {
		return nil, ErrWrongCode
	}
	k, err := a.keyHolder(ctx, who.Tenant, who.UserID, who.Name)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return nil, &InputError{"response", "is not what a browser answers: " + err.Error()}
	}
	made, err := rp.CreateCredential(k, session, parsed)
	if err != nil {
		return nil, &InputError{"response", "is refused: " + err.Error()}
	}
	has, err := a.cfg.Store.HasFactor(ctx, who.Tenant, who.UserID)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("keep passkey: %w", err)
	}
	id, err := newID()
	if err != nil {
		return nil, err
	}
	now := a.cfg.Now()
	if err := a.cfg.Store.AddFactor(ctx, store.Factor{ID: id, Tenant: who.Tenant, UserID: who.UserID, Kind: store.FactorPasskey,
		Name: strings.TrimSpace(name), Confirmed: true, Credential: made.ID, Body: body, Created: now, LastUsed: now}); err != nil {
		return nil, err
	}
	return a.afterFactor(ctx, who, !has)
}

// BeginPasskey begins to sign in with a passkey. Nobody says who they are: the passkey does.
func (a *Auth) BeginPasskey(origin string) (Ceremony, error) {
	rp, err := a.relyingParty(origin)
	if err != nil {
		return Ceremony{}, err
	}
	options, session, err := rp.BeginDiscoverableLogin(webauthn.WithUserVerification(protocol.VerificationRequired))
	if err != nil {
		return Ceremony{}, fmt.Errorf("begin with a passkey: %w", err)
	}
	return a.ceremony(ticketLogin, "", session, options.Response)
}

// Passkey signs in whose passkey answered.
func (a *Auth) Passkey(ctx context.Context, state, origin string, response []byte, from Client) (string, Identity, error) {
	u, err := a.holder(ctx, ticketLogin, "", state, origin, response, from)
	if err != nil {
		return "", Identity{}, err
	}
	return a.open(ctx, u, methodPasskey, from)
}

// holder returns the user whose passkey answered. Those who try are slowed down by their address.
func (a *Auth) holder(ctx context.Context, kind, userID, state, origin string, response []byte, from Client) (store.User, error) {
	rp, err := a.relyingParty(origin)
	if err != nil {
		return store.User{}, err
	}
	var u store.User
	err = a.guessing("passkey\x00"+from.Address, from, func() error {
		t, session, err := a.answered(state, kind)
		if err != nil {
			return err
		}
		if t.userID != userID {
			return ErrWrongCode
		}
		parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
		if err != nil {
			return ErrWrongCode
		}
		var f store.Factor
		var broken error
		_, used, err := rp.ValidatePasskeyLogin(func(credential, handle []byte) (webauthn.User, error) {
			if f, broken = a.cfg.Store.FactorByCredential(ctx, credential); broken != nil {
				return nil, broken
			}
			if u, broken = a.cfg.Store.UserByID(ctx, f.Tenant, f.UserID); broken != nil {
				return nil, broken
			}
			if string(handle) != u.ID {
				return nil, ErrWrongCode
			}
			return a.keyHolder(ctx, u.Tenant, u.ID, u.Username)
		}, session, parsed)
		switch {
		case broken != nil && !errors.Is(broken, store.ErrNotFound):
			return broken
		case err != nil, u.Disabled, userID != "" && u.ID != userID, used.Authenticator.CloneWarning:
			return ErrWrongCode
		}
		body, err := json.Marshal(used)
		if err != nil {
			return fmt.Errorf("keep passkey: %w", err)
		}
		return a.cfg.Store.UsePasskey(ctx, f.Tenant, f.ID, body, a.cfg.Now())
	})
	return u, err
}
