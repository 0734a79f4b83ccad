package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Account is one that the logins behind an alert name.
type Account struct {
	Name  string
	GotIn bool // one of those logins was successful
}

// AccountSearch is an alert whose evidence has not been asked for accounts.
type AccountSearch struct {
	Alert    Alert
	Findings []Finding // the newest
	Tries    int       // before this one
	due      int64
}

const (
	searchedFindings = 10
	maxAccounts      = 50 // of an alert
	// searchWithin is how long a search may take before somebody else begins it again.
	searchWithin = 5 * time.Minute
)

// AccountSearches takes some of the searches that are due. One that is not ended comes again.
func (c *Control) AccountSearches(ctx context.Context, limit int) (list []AccountSearch, err error) {
	var waiting bool
	if err := c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM accounts_pending WHERE due <= ?)", micros(c.now())).Scan(&waiting); err != nil || !waiting {
		return nil, explain(err)
	}
	err = c.write(ctx, func(tx *sql.Tx) error {
		due := c.now().Add(searchWithin)
		type pending struct {
			id    string
			tries int
		}
		ids, err := collect(ctx, tx, func(r row) (p pending, err error) { return p, r.Scan(&p.id, &p.tries) },
			`UPDATE accounts_pending SET due = ?, tries = tries + 1 WHERE alert_id IN
			(SELECT alert_id FROM accounts_pending WHERE due <= ? ORDER BY due, alert_id LIMIT ?) RETURNING alert_id, tries - 1`, micros(due), micros(c.now()), limit)
		if err != nil {
			return err
		}
		for _, p := range ids {
			s := AccountSearch{Tries: p.tries, due: micros(due)}
			if s.Alert, err = scanAlert(tx.QueryRowContext(ctx, "SELECT "+alertColumns+" FROM alerts WHERE id = ?", p.id)); err != nil {
				return err
			}
			s.Findings, err = collect(ctx, tx, func(r row) (f Finding, err error) {
				var body string
				if err := r.Scan(&body, &f.CaptureID, &f.Agent); err != nil {
					return f, err
				}
				return f, json.Unmarshal([]byte(body), &f.Finding)
			}, "SELECT body, capture_id, agent FROM findings WHERE alert_id = ? ORDER BY created DESC LIMIT ?", p.id, searchedFindings)
			if err != nil {
				return fmt.Errorf("findings of alert %s: %w", p.id, err)
			}
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// EndAccountSearch keeps what a search has found and reports whether that is new; then the alert is grouped anew. Later is when the same
// is to be searched again, the zero time for never. What came to the alert meanwhile is searched in any case.
func (c *Control) EndAccountSearch(ctx context.Context, s AccountSearch, found []Account, later time.Time) (news bool, err error) {
	err = c.write(ctx, func(tx *sql.Tx) error {
		for _, a := range found {
			res, err := tx.ExecContext(ctx, `INSERT INTO alert_accounts (alert_id, account, got_in) SELECT ?1, ?2, ?3
				WHERE EXISTS (SELECT 1 FROM alerts WHERE id = ?1) AND ((SELECT count(*) FROM alert_accounts WHERE alert_id = ?1) < ?4
				OR EXISTS (SELECT 1 FROM alert_accounts WHERE alert_id = ?1 AND account = ?2))
				ON CONFLICT DO UPDATE SET got_in = 1 WHERE excluded.got_in AND NOT got_in`, s.Alert.ID, a.Name, a.GotIn, maxAccounts)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			news = news || n > 0
		}
		if news {
			if _, err := tx.ExecContext(ctx, "INSERT INTO incident_pending SELECT ?1 WHERE NOT EXISTS (SELECT 1 FROM incident_pending WHERE alert_id = ?1)", s.Alert.ID); err != nil {
				return err
			}
		}
		if later.IsZero() {
			_, err = tx.ExecContext(ctx, "DELETE FROM accounts_pending WHERE alert_id = ? AND due = ?", s.Alert.ID, s.due)
		} else {
			_, err = tx.ExecContext(ctx, "UPDATE accounts_pending SET due = ? WHERE alert_id = ? AND due = ?", micros(later), s.Alert.ID, s.due)
		}
		return err
	})
	return news, err
}

// accountsOf lists the accounts that the logins behind an alert name.
func accountsOf(ctx context.Context, q lister, alert string) ([]Account, error) {
	return collect(ctx, q, func(r row) (a Account, err error) { return a, r.Scan(&a.Name, &a.GotIn) },
		"SELECT account, got_in FROM alert_accounts WHERE alert_id = ? ORDER BY account", alert)
}

// AccountOfAlert is an account with the alert whose logins name it.
type AccountOfAlert struct {
	Account
	AlertID string
}

// IncidentAccounts lists the accounts of an incident's alerts.
func (c *Control) IncidentAccounts(ctx context.Context, tenant, incident string) ([]AccountOfAlert, error) {
	return collect(ctx, c.reader, func(r row) (a AccountOfAlert, err error) { return a, r.Scan(&a.Name, &a.GotIn, &a.AlertID) },
		`SELECT x.account, x.got_in, x.alert_id FROM alert_accounts x JOIN alerts a ON a.id = x.alert_id
		WHERE a.tenant = ? AND a.incident_id = ? ORDER BY x.account, x.alert_id LIMIT 5000`, tenant, incident)
}
