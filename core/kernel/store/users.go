package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const userColumns = "id, tenant, username, role, password_hash, disabled, created, signed_in"

func scanUser(r row) (u User, err error) {
	err = r.Scan(&u.ID, &u.Tenant, &u.Username, &u.Role, &u.PasswordHash, &u.Disabled, stamp(&u.Created), stamp(&u.SignedIn))
	return u, explain(err)
}

func insertUser(ctx context.Context, q querier, u User) error {
	_, err := q.ExecContext(ctx, "INSERT INTO users ("+userColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		u.ID, u.Tenant, u.Username, u.Role, u.PasswordHash, u.Disabled, micros(u.Created), micros(u.SignedIn))
	return explain(err)
}

// CreateUser adds a user; ErrConflict when the name is taken, a *LimitError when the tenant has as many as it may.
func (c *Control) CreateUser(ctx context.Context, u User) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := c.room(ctx, tx, u.Tenant, QuotaUsers, 1); err != nil {
			return err
		}
		return insertUser(ctx, tx, u)
	})
}

// CreateFirstUser spends the set-up token and creates the first administrator in one transaction; ErrConflict when there
// is one already who can sign in. A user of the same name is taken over: it could not sign in as one. It returns the
// user as stored. Other set-up tokens end with it.
func (c *Control) CreateFirstUser(ctx context.Context, setupHash []byte, u User) (User, error) {
	err := c.write(ctx, func(tx *sql.Tx) error {
		t, err := spend(ctx, tx, setupHash, "setup", c.now())
		if err != nil {
			return err
		}
		if t.Tenant != u.Tenant {
			return ErrNotFound
		}
		n, err := countAdministrators(ctx, tx, u.Tenant)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("first user: %w", ErrConflict)
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM one_time_tokens WHERE tenant = ? AND purpose = 'setup' AND used = 0", u.Tenant); err != nil {
			return err
		}
		old, err := scanUser(tx.QueryRowContext(ctx, "SELECT "+userColumns+" FROM users WHERE tenant = ? AND username = ?", u.Tenant, u.Username))
		if errors.Is(err, ErrNotFound) {
			return insertUser(ctx, tx, u)
		}
		if err != nil {
			return err
		}
		u.ID, u.Created = old.ID, old.Created
		if err := endSessions(ctx, tx, u.Tenant, u.ID); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE users SET role = ?, password_hash = ?, disabled = 0 WHERE id = ?", u.Role, u.PasswordHash, u.ID)
		return err
	})
	return u, err
}

// UserByName returns the user of that name, as it was stored.
func (c *Control) UserByName(ctx context.Context, tenant, username string) (User, error) {
	return scanUser(c.reader.QueryRowContext(ctx,
		"SELECT "+userColumns+" FROM users WHERE tenant = ? AND username = ?", tenant, username))
}

// UserByID returns the user of that id.
func (c *Control) UserByID(ctx context.Context, tenant, id string) (User, error) {
	return scanUser(c.reader.QueryRowContext(ctx,
		"SELECT "+userColumns+" FROM users WHERE tenant = ? AND id = ?", tenant, id))
}

// CountAdministrators counts the tenant's administrators who can sign in: with a password, a passkey or elsewhere.
func (c *Control) CountAdministrators(ctx context.Context, tenant string) (int, error) {
	return countAdministrators(ctx, c.reader, tenant)
}

func countAdministrators(ctx context.Context, q querier, tenant string) (n int, err error) {
	err = q.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE tenant = ? AND role = 'ADM' AND NOT disabled AND (password_hash <> ''
		OR EXISTS (SELECT 1 FROM factors WHERE user_id = users.id AND kind = 'passkey')
		OR EXISTS (SELECT 1 FROM foreign_identities WHERE user_id = users.id))`,
		tenant).Scan(&n)
	return n, explain(err)
}

// ListUsers lists the tenant's users by name.
func (c *Control) ListUsers(ctx context.Context, tenant string) ([]User, error) {
	return collect(ctx, c.reader, scanUser, "SELECT "+userColumns+" FROM users WHERE tenant = ? ORDER BY username", tenant)
}

// SetPasswordHash replaces a user's password hash.
func (c *Control) SetPasswordHash(ctx context.Context, tenant, id, hash string) error {
	return c.execOne(ctx, "UPDATE users SET password_hash = ? WHERE tenant = ? AND id = ?", hash, tenant, id)
}

// SetUserDisabled locks a user out or lets them in again. Locking out ends their sessions.
func (c *Control) SetUserDisabled(ctx context.Context, tenant, id string, disabled bool) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "UPDATE users SET disabled = ? WHERE tenant = ? AND id = ?", disabled, tenant, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		if disabled {
			err = endSessions(ctx, tx, tenant, id)
		}
		return err
	})
}

// ErrLastAdministrator refuses what would leave nobody who can administer.
var ErrLastAdministrator = errors.New("this is the last administrator who can sign in; make another one first")

// SetUserRole gives a user another role; ErrLastAdministrator when nobody else could administer then.
func (c *Control) SetUserRole(ctx context.Context, tenant, id, role string) error {
	return c.keepingAdministrators(ctx, tenant, func(tx *sql.Tx) (sql.Result, error) {
		return tx.ExecContext(ctx, "UPDATE users SET role = ? WHERE tenant = ? AND id = ?", role, tenant, id)
	})
}

// DisableUser locks a user out and ends their sessions; ErrLastAdministrator when nobody else could administer then.
func (c *Control) DisableUser(ctx context.Context, tenant, id string) error {
	return c.keepingAdministrators(ctx, tenant, func(tx *sql.Tx) (sql.Result, error) {
		if err := endSessions(ctx, tx, tenant, id); err != nil {
			return nil, err
		}
		return tx.ExecContext(ctx, "UPDATE users SET disabled = 1 WHERE tenant = ? AND id = ?", tenant, id)
	})
}

// DeleteUser forgets a user with their sessions, factors and tokens; ErrLastAdministrator when nobody else could administer then.
func (c *Control) DeleteUser(ctx context.Context, tenant, id string) error {
	return c.keepingAdministrators(ctx, tenant, func(tx *sql.Tx) (sql.Result, error) {
		if err := endSessions(ctx, tx, tenant, id); err != nil {
			return nil, err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM api_tokens WHERE tenant = ? AND user_id = ?", tenant, id); err != nil {
			return nil, err
		}
		return tx.ExecContext(ctx, "DELETE FROM users WHERE tenant = ? AND id = ?", tenant, id)
	})
}

// keepingAdministrators changes one user, unless that takes the last administrator away.
func (c *Control) keepingAdministrators(ctx context.Context, tenant string, change func(tx *sql.Tx) (sql.Result, error)) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		before, err := countAdministrators(ctx, tx, tenant)
		if err != nil {
			return err
		}
		res, err := change(tx)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		after, err := countAdministrators(ctx, tx, tenant)
		if err == nil && before > 0 && after == 0 {
			err = ErrLastAdministrator
		}
		return err
	})
}

func orNotFound(err error) error {
	if err == nil {
		return ErrNotFound
	}
	return err
}

// CreateSession keeps a session, and forgets those that have ended.
func (c *Control) CreateSession(ctx context.Context, s Session) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE expires <= ?", micros(c.now())); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE users SET signed_in = ? WHERE tenant = ? AND id = ?", micros(s.Created), s.Tenant, s.UserID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO sessions ("+sessionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", s.ID, s.Tenant,
			s.UserID, s.Hash, micros(s.Created), micros(s.LastSeen), micros(s.Expires), s.Address, s.UserAgent, s.Method, micros(s.Proved))
		return err
	})
}

const sessionColumns = "id, tenant, user_id, hash, created, last_seen, expires, address, user_agent, method, proved"

func scanSession(r row) (s Session, err error) {
	err = r.Scan(&s.ID, &s.Tenant, &s.UserID, &s.Hash, stamp(&s.Created), stamp(&s.LastSeen), stamp(&s.Expires), &s.Address,
		&s.UserAgent, &s.Method, stamp(&s.Proved))
	return s, explain(err)
}

// SessionByHash returns the session whose secret has this hash. Whether it has ended is for the caller to see.
func (c *Control) SessionByHash(ctx context.Context, hash []byte) (Session, error) {
	return scanSession(c.reader.QueryRowContext(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE hash = ?", hash))
}

// ListSessions lists a user's sessions that have not reached their end, the last used first.
func (c *Control) ListSessions(ctx context.Context, tenant, userID string) ([]Session, error) {
	return collect(ctx, c.reader, scanSession, "SELECT "+sessionColumns+` FROM sessions WHERE tenant = ? AND user_id = ? AND expires > ?
		ORDER BY last_seen DESC, id DESC`, tenant, userID, micros(c.now()))
}

// EndUserSession ends one session of a user.
func (c *Control) EndUserSession(ctx context.Context, tenant, userID, id string) error {
	return c.execOne(ctx, "DELETE FROM sessions WHERE tenant = ? AND user_id = ? AND id = ?", tenant, userID, id)
}

// EndOtherSessions ends all sessions of a user but one, and says how many.
func (c *Control) EndOtherSessions(ctx context.Context, tenant, userID, keep string) (int, error) {
	return c.exec(ctx, "DELETE FROM sessions WHERE tenant = ? AND user_id = ? AND id <> ?", tenant, userID, keep)
}

// ProveSession notes that the owner of a session has just proved who they are.
func (c *Control) ProveSession(ctx context.Context, id string, at time.Time) error {
	return c.execOne(ctx, "UPDATE sessions SET proved = ? WHERE id = ?", micros(at), id)
}

// TouchSession notes that a session was used.
func (c *Control) TouchSession(ctx context.Context, id string, at time.Time) error {
	return c.execOne(ctx, "UPDATE sessions SET last_seen = ? WHERE id = ?", micros(at), id)
}

// DeleteSession ends a session.
func (c *Control) DeleteSession(ctx context.Context, id string) error {
	return c.execOne(ctx, "DELETE FROM sessions WHERE id = ?", id)
}

// DeleteUserSessions ends all sessions of a user, and the links that would open one.
func (c *Control) DeleteUserSessions(ctx context.Context, tenant, userID string) error {
	return c.write(ctx, func(tx *sql.Tx) error { return endSessions(ctx, tx, tenant, userID) })
}

func endSessions(ctx context.Context, tx *sql.Tx, tenant, userID string) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM one_time_tokens WHERE tenant = ? AND user_id = ?", tenant, userID); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE tenant = ? AND user_id = ?", tenant, userID)
	return err
}

const tokenColumns = "id, tenant, name, role, hash, hint, created_by, created, last_used, expires, scopes, user_id"

func scanToken(r row) (t APIToken, err error) {
	err = r.Scan(&t.ID, &t.Tenant, &t.Name, &t.Role, &t.Hash, &t.Hint, &t.CreatedBy, stamp(&t.Created),
		stamp(&t.LastUsed), stamp(&t.Expires), fromJSON(&t.Scopes), &t.UserID)
	if len(t.Scopes) == 0 {
		t.Scopes = nil
	}
	return t, explain(err)
}

// CreateAPIToken keeps an API token.
func (c *Control) CreateAPIToken(ctx context.Context, t APIToken) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := c.room(ctx, tx, t.Tenant, QuotaTokens, 1); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO api_tokens ("+tokenColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", t.ID, t.Tenant,
			t.Name, t.Role, t.Hash, t.Hint, t.CreatedBy, micros(t.Created), micros(t.LastUsed), micros(t.Expires), toJSON(append([]string{}, t.Scopes...)), t.UserID)
		return err
	})
}

// APITokenByHash returns the API token whose secret has this hash. Whether it has expired is for the caller to see.
func (c *Control) APITokenByHash(ctx context.Context, hash []byte) (APIToken, error) {
	return scanToken(c.reader.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM api_tokens WHERE hash = ?", hash))
}

// TouchAPIToken notes that an API token was used.
func (c *Control) TouchAPIToken(ctx context.Context, id string, at time.Time) error {
	return c.execOne(ctx, "UPDATE api_tokens SET last_used = ? WHERE id = ?", micros(at), id)
}

// ListAPITokens lists the tenant's API tokens, newest first.
func (c *Control) ListAPITokens(ctx context.Context, tenant string) ([]APIToken, error) {
	return collect(ctx, c.reader, scanToken,
		"SELECT "+tokenColumns+" FROM api_tokens WHERE tenant = ? ORDER BY id DESC", tenant)
}

// APIToken returns the API token of that id.
func (c *Control) APIToken(ctx context.Context, tenant, id string) (APIToken, error) {
	return scanToken(c.reader.QueryRowContext(ctx, "SELECT "+tokenColumns+" FROM api_tokens WHERE tenant = ? AND id = ?", tenant, id))
}

// RotateAPIToken gives an API token another secret; the one before opens nothing from then on.
func (c *Control) RotateAPIToken(ctx context.Context, t APIToken) error {
	return c.execOne(ctx, "UPDATE api_tokens SET hash = ?, hint = ?, created = ?, last_used = 0, expires = ? WHERE tenant = ? AND id = ?",
		t.Hash, t.Hint, micros(t.Created), micros(t.Expires), t.Tenant, t.ID)
}

// DeleteAPIToken ends an API token.
func (c *Control) DeleteAPIToken(ctx context.Context, tenant, id string) error {
	return c.execOne(ctx, "DELETE FROM api_tokens WHERE tenant = ? AND id = ?", tenant, id)
}

// CreateOneTimeToken keeps a one-time token, and forgets those that have expired.
func (c *Control) CreateOneTimeToken(ctx context.Context, t OneTimeToken) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM one_time_tokens WHERE expires <= ?", micros(c.now())); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO one_time_tokens (hash, tenant, purpose, user_id, created, expires, used)
			VALUES (?, ?, ?, ?, ?, ?, ?)`, t.Hash, t.Tenant, t.Purpose, t.UserID, micros(t.Created), micros(t.Expires), micros(t.Used))
		return err
	})
}

// SpendOneTimeToken marks a token as used and returns it; ErrNotFound, ErrUsed or ErrExpired when it opens nothing.
func (c *Control) SpendOneTimeToken(ctx context.Context, hash []byte, purpose string) (t OneTimeToken, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		t, err = spend(ctx, tx, hash, purpose, c.now())
		return err
	})
	return t, err
}

func spend(ctx context.Context, tx *sql.Tx, hash []byte, purpose string, now time.Time) (t OneTimeToken, err error) {
	err = tx.QueryRowContext(ctx, `SELECT hash, tenant, purpose, user_id, created, expires, used FROM one_time_tokens
		WHERE hash = ? AND purpose = ?`, hash, purpose).Scan(&t.Hash, &t.Tenant, &t.Purpose, &t.UserID,
		stamp(&t.Created), stamp(&t.Expires), stamp(&t.Used))
	switch {
	case err != nil:
		return t, explain(err)
	case !t.Used.IsZero():
		return t, ErrUsed
	case !now.Before(t.Expires):
		return t, ErrExpired
	}
	t.Used = now
	_, err = tx.ExecContext(ctx, "UPDATE one_time_tokens SET used = ? WHERE hash = ?", micros(now), hash)
	return t, err
}
