package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"
)

const factorColumns = "id, tenant, user_id, kind, name, confirmed, secret, step, credential, body, created, last_used"

func factorPlace(f Factor) string { return "factor:" + f.Tenant + "/" + f.ID }

func (c *Control) scanFactor(r row) (f Factor, err error) {
	var sealed []byte
	var body string
	err = r.Scan(&f.ID, &f.Tenant, &f.UserID, &f.Kind, &f.Name, &f.Confirmed, &sealed, &f.Step, &f.Credential, &body, stamp(&f.Created), stamp(&f.LastUsed))
	if err != nil {
		return f, explain(err)
	}
	if body != "" {
		f.Body = json.RawMessage(body)
	}
	secrets, err := c.sealer.open(sealed, factorPlace(f))
	f.Secret = secrets["totp"]
	return f, err
}

// AddFactor keeps a factor; ErrConflict when a passkey is known already. An app that was never confirmed gives way.
func (c *Control) AddFactor(ctx context.Context, f Factor) error {
	var sealed []byte
	if f.Secret != "" {
		var err error
		if sealed, err = c.sealer.seal(map[string]string{"totp": f.Secret}, factorPlace(f)); err != nil {
			return err
		}
	}
	return c.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM factors WHERE tenant = ? AND user_id = ? AND NOT confirmed", f.Tenant, f.UserID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO factors ("+factorColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", f.ID, f.Tenant, f.UserID,
			f.Kind, f.Name, f.Confirmed, sealed, f.Step, f.Credential, rawJSON(f.Body, ""), micros(f.Created), micros(f.LastUsed))
		return err
	})
}

// Factors lists a user's factors, oldest first.
func (c *Control) Factors(ctx context.Context, tenant, userID string) ([]Factor, error) {
	return collect(ctx, c.reader, c.scanFactor, "SELECT "+factorColumns+" FROM factors WHERE tenant = ? AND user_id = ? ORDER BY id", tenant, userID)
}

// HasFactor reports whether a user has a factor that counts.
func (c *Control) HasFactor(ctx context.Context, tenant, userID string) (has bool, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM factors WHERE tenant = ? AND user_id = ? AND confirmed)", tenant, userID).Scan(&has)
	return has, explain(err)
}

// FactorByCredential returns the passkey of that id, whosever it is: it alone says who signs in.
func (c *Control) FactorByCredential(ctx context.Context, credential []byte) (Factor, error) {
	return c.scanFactor(c.reader.QueryRowContext(ctx, "SELECT "+factorColumns+" FROM factors WHERE credential = ?", credential))
}

// UseStep takes the code of a step, once: ErrUsed when that or a later one was taken. The first one confirms the factor.
func (c *Control) UseStep(ctx context.Context, tenant, id string, step int64, at time.Time) error {
	n, err := c.exec(ctx, "UPDATE factors SET step = ?, last_used = ?, confirmed = 1 WHERE tenant = ? AND id = ? AND step < ?", step, micros(at), tenant, id, step)
	if err == nil && n == 0 {
		return ErrUsed
	}
	return err
}

// UsePasskey notes a use of a passkey and what it said of itself then.
func (c *Control) UsePasskey(ctx context.Context, tenant, id string, body json.RawMessage, at time.Time) error {
	return c.execOne(ctx, "UPDATE factors SET body = ?, last_used = ? WHERE tenant = ? AND id = ?", string(body), micros(at), tenant, id)
}

// RenameFactor gives a factor of a user another name.
func (c *Control) RenameFactor(ctx context.Context, tenant, userID, id, name string) error {
	return c.execOne(ctx, "UPDATE factors SET name = ? WHERE tenant = ? AND user_id = ? AND id = ?", name, tenant, userID, id)
}

// DeleteFactor forgets a factor of a user, and the recovery codes with the last one.
func (c *Control) DeleteFactor(ctx context.Context, tenant, userID, id string) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, "DELETE FROM factors WHERE tenant = ? AND user_id = ? AND id = ?", tenant, userID, id)
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM recovery_codes WHERE tenant = ? AND user_id = ?
			AND NOT EXISTS (SELECT 1 FROM factors WHERE factors.user_id = recovery_codes.user_id AND confirmed)`, tenant, userID)
		return err
	})
}

// DeleteFactors forgets all factors and recovery codes of a user.
func (c *Control) DeleteFactors(ctx context.Context, tenant, userID string) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM recovery_codes WHERE tenant = ? AND user_id = ?", tenant, userID); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM factors WHERE tenant = ? AND user_id = ?", tenant, userID)
		return err
	})
}

// PutRecoveryCodes replaces a user's recovery codes.
func (c *Control) PutRecoveryCodes(ctx context.Context, tenant, userID string, hashes [][]byte) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM recovery_codes WHERE tenant = ? AND user_id = ?", tenant, userID); err != nil {
			return err
		}
		for _, h := range hashes {
			if _, err := tx.ExecContext(ctx, "INSERT INTO recovery_codes (user_id, hash, tenant, used) VALUES (?, ?, ?, 0)", userID, h, tenant); err != nil {
				return err
			}
		}
		return nil
	})
}

// SpendRecoveryCode takes a recovery code, once; ErrNotFound when there is no such one left.
func (c *Control) SpendRecoveryCode(ctx context.Context, tenant, userID string, hash []byte, at time.Time) error {
	return c.execOne(ctx, "UPDATE recovery_codes SET used = ? WHERE tenant = ? AND user_id = ? AND hash = ? AND used = 0", micros(at), tenant, userID, hash)
}

// RecoveryCodesLeft counts a user's recovery codes that were not used.
func (c *Control) RecoveryCodesLeft(ctx context.Context, tenant, userID string) (n int, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT count(*) FROM recovery_codes WHERE tenant = ? AND user_id = ? AND used = 0", tenant, userID).Scan(&n)
	return n, explain(err)
}

// ForeignUser returns the user whom an issuer knows by that subject.
func (c *Control) ForeignUser(ctx context.Context, tenant, issuer, subject string) (User, error) {
	return scanUser(c.reader.QueryRowContext(ctx, "SELECT "+userColumns+` FROM users WHERE id =
		(SELECT user_id FROM foreign_identities WHERE tenant = ? AND issuer = ? AND subject = ?)`, tenant, issuer, subject))
}

// IsForeign reports whether some issuer knows the user.
func (c *Control) IsForeign(ctx context.Context, tenant, userID string) (is bool, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM foreign_identities WHERE tenant = ? AND user_id = ?)", tenant, userID).Scan(&is)
	return is, explain(err)
}

// CreateForeignUser adds a user together with whom the issuer knows them as; ErrConflict when the name or the subject is taken.
func (c *Control) CreateForeignUser(ctx context.Context, u User, issuer, subject string) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		if err := c.room(ctx, tx, u.Tenant, QuotaUsers, 1); err != nil {
			return err
		}
		if err := insertUser(ctx, tx, u); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO foreign_identities (tenant, issuer, subject, user_id) VALUES (?, ?, ?, ?)", u.Tenant, issuer, subject, u.ID)
		return err
	})
}
