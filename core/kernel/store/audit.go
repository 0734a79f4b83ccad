package store

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const auditColumns = "id, tenant, time, actor, action, object, outcome, detail, address, seq, hash"

func scanAudit(r row) (e AuditEntry, err error) {
	err = r.Scan(&e.ID, &e.Tenant, stamp(&e.Time), &e.Actor, &e.Action, &e.Object, &e.Outcome, &e.Detail, &e.Address, &e.Seq, &e.Hash)
	return e, explain(err)
}

// Chained is the hash of a line of the audit log: SHA-256 over the hash of the line before it (32 zero bytes for the first)
// and the line as a JSON array. Whoever has an export can compute it.
func (e AuditEntry) Chained(before []byte) []byte {
	line, err := json.Marshal([]any{e.Seq, e.ID, e.Tenant, micros(e.Time), e.Actor, e.Action, e.Object, e.Outcome, e.Detail, e.Address})
	if err != nil {
		panic(fmt.Sprintf("store: marshal audit entry: %v", err)) // numbers and strings always marshal
	}
	sum := sha256.New()
	if before == nil {
		before = make([]byte, sha256.Size)
	}
	sum.Write(before)
	sum.Write(line)
	return sum.Sum(nil)
}

// AuditHead is the end of a tenant's chain. Kept elsewhere, it shows later that nothing before it was taken away.
type AuditHead struct {
	Seq  int64
	Hash []byte
}

// AppendAudit adds a line to the audit log, at the end of its tenant's chain. There is no way to change or remove one.
func (c *Control) AppendAudit(ctx context.Context, e AuditEntry) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		head, err := c.auditHead(ctx, tx, e.Tenant)
		if err != nil {
			return err
		}
		e.Seq = head.Seq + 1
		e.Hash = e.Chained(head.Hash)
		if _, err := tx.ExecContext(ctx, "INSERT INTO audit ("+auditColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			e.ID, e.Tenant, micros(e.Time), e.Actor, e.Action, e.Object, e.Outcome, e.Detail, e.Address, e.Seq, e.Hash); err != nil {
			return err
		}
		return c.putAuditHead(ctx, tx, e.Tenant, AuditHead{e.Seq, e.Hash})
	})
}

// auditHead is where the chain goes on. A head that somebody altered still is: verifying tells of it.
func (c *Control) auditHead(ctx context.Context, q querier, tenant string) (h AuditHead, err error) {
	err = q.QueryRowContext(ctx, "SELECT seq, hash FROM audit_heads WHERE tenant = ?", tenant).Scan(&h.Seq, &h.Hash)
	if errors.Is(err, sql.ErrNoRows) {
		return AuditHead{}, nil
	}
	return h, explain(err)
}

func (c *Control) putAuditHead(ctx context.Context, q querier, tenant string, h AuditHead) error {
	_, err := q.ExecContext(ctx, `INSERT INTO audit_heads (tenant, seq, hash, mac) VALUES (?, ?, ?, ?)
		ON CONFLICT (tenant) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, mac = excluded.mac`,
		tenant, h.Seq, h.Hash, c.sealer.markHead(tenant, h))
	return err
}

// markHead makes a mark that nobody can make who has the data folder alone.
func (s *sealer) markHead(tenant string, h AuditHead) []byte {
	mac := hmac.New(sha256.New, s.mark)
	fmt.Fprintf(mac, "audit head\n%s\n%d\n%x", tenant, h.Seq, h.Hash)
	return mac.Sum(nil)
}

// resealAuditHeads marks the heads with the key there is now; the operator has replaced the key file.
func (c *Control) resealAuditHeads(ctx context.Context) error {
	tenants, err := c.auditTenants(ctx, "SELECT tenant FROM audit_heads")
	if err != nil {
		return err
	}
	return c.write(ctx, func(tx *sql.Tx) error {
		for _, tenant := range tenants {
			h, err := c.auditHead(ctx, tx, tenant)
			if err == nil {
				err = c.putAuditHead(ctx, tx, tenant, h)
			}
			if err == nil {
				h, _, err = c.auditStart(ctx, tx, tenant)
			}
			if err == nil {
				_, err = tx.ExecContext(ctx, "UPDATE audit_starts SET mac = ? WHERE tenant = ?", c.sealer.markStart(tenant, h), tenant)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Control) auditTenants(ctx context.Context, query string) ([]string, error) {
	return collect(ctx, c.reader, func(r row) (tenant string, err error) {
		err = r.Scan(&tenant)
		return tenant, err
	}, query)
}

// chainOldAudit puts lines that were written before there was a chain into it.
func (c *Control) chainOldAudit(ctx context.Context) error {
	tenants, err := c.auditTenants(ctx, "SELECT DISTINCT tenant FROM audit WHERE seq IS NULL AND tenant NOT IN (SELECT tenant FROM audit_heads)")
	if err != nil {
		return err
	}
	for _, tenant := range tenants {
		old, err := collect(ctx, c.reader, func(r row) (e AuditEntry, err error) {
			err = r.Scan(&e.ID, &e.Tenant, stamp(&e.Time), &e.Actor, &e.Action, &e.Object, &e.Outcome, &e.Detail, &e.Address)
			return e, explain(err)
		}, "SELECT id, tenant, time, actor, action, object, outcome, detail, address FROM audit WHERE tenant = ? ORDER BY id", tenant)
		if err != nil {
			return err
		}
		err = c.write(ctx, func(tx *sql.Tx) error {
			var head AuditHead
			for _, e := range old {
				e.Seq = head.Seq + 1
				head = AuditHead{e.Seq, e.Chained(head.Hash)}
				if _, err := tx.ExecContext(ctx, "UPDATE audit SET seq = ?, hash = ? WHERE id = ?", head.Seq, head.Hash, e.ID); err != nil {
					return err
				}
			}
			return c.putAuditHead(ctx, tx, tenant, head)
		})
		if err != nil {
			return fmt.Errorf("chain the audit log: %w", err)
		}
	}
	return nil
}

// AuditReport says whether an audit log is whole.
type AuditReport struct {
	Head    AuditHead
	Broken  int64  // the first line that is not as it was written, 0 when all are
	Problem string // what is wrong with it
}

// VerifyAudit walks the tenant's chain from its first line to its end. known may hold a head that was noted earlier.
func (c *Control) VerifyAudit(ctx context.Context, tenant string, known AuditHead) (AuditReport, error) {
	tx, err := c.reader.BeginTx(ctx, nil) // so that lines that come meanwhile do not confuse
	if err != nil {
		return AuditReport{}, explain(err)
	}
	defer func() { _ = tx.Rollback() }()
	rows, err := tx.QueryContext(ctx, "SELECT id, tenant, time, actor, action, object, outcome, detail, address, coalesce(seq, 0), coalesce(hash, '') FROM audit WHERE tenant = ? ORDER BY seq", tenant)
	if err != nil {
		return AuditReport{}, explain(err)
	}
	defer rows.Close()
	at, genuine, err := c.auditStart(ctx, tx, tenant)
	if err != nil {
		return AuditReport{}, err
	}
	broken := func(seq int64, problem string) (AuditReport, error) {
		return AuditReport{Head: at, Broken: seq, Problem: problem}, nil
	}
	if !genuine {
		return broken(at.Seq, "the record of the chain's beginning was made up: its mark does not fit the key file")
	}
	switch {
	case known.Seq > 0 && known.Seq < at.Seq:
		return AuditReport{}, &QueryError{fmt.Sprintf("the noted line %d cannot be compared: by the rules of retention the log begins after line %d", known.Seq, at.Seq)}
	case known.Seq > 0 && known.Seq == at.Seq && !bytes.Equal(known.Hash, at.Hash):
		return broken(at.Seq, "the line is another than the one that was noted")
	}
	for rows.Next() {
		e, err := scanAudit(rows)
		if err != nil {
			return AuditReport{}, err
		}
		switch {
		case e.Seq == 0:
			return broken(at.Seq+1, "a line stands outside the chain: "+e.ID)
		case e.Seq != at.Seq+1:
			return broken(at.Seq+1, "the line is missing")
		case !bytes.Equal(e.Hash, e.Chained(at.Hash)):
			return broken(e.Seq, "the line or the one before it was changed")
		}
		at = AuditHead{e.Seq, e.Hash}
		if known.Seq == e.Seq && !bytes.Equal(known.Hash, e.Hash) {
			return broken(e.Seq, "the line is another than the one that was noted")
		}
	}
	if err := rows.Err(); err != nil {
		return AuditReport{}, explain(err)
	}
	var head AuditHead
	var mac []byte
	err = tx.QueryRowContext(ctx, "SELECT seq, hash, mac FROM audit_heads WHERE tenant = ?", tenant).Scan(&head.Seq, &head.Hash, &mac)
	switch {
	case errors.Is(err, sql.ErrNoRows) && at.Seq == 0 && known.Seq == 0:
		return AuditReport{}, nil
	case errors.Is(err, sql.ErrNoRows):
		return broken(at.Seq+1, "the record of the chain's end is missing")
	case err != nil:
		return AuditReport{}, explain(err)
	case !hmac.Equal(mac, c.sealer.markHead(tenant, head)):
		return broken(at.Seq+1, "the record of the chain's end was made up: its mark does not fit the key file")
	case head.Seq > at.Seq:
		return broken(at.Seq+1, "the line is missing, and all after it")
	case head.Seq != at.Seq || !bytes.Equal(head.Hash, at.Hash):
		return broken(head.Seq+1, "the line is not the server's")
	case known.Seq > at.Seq:
		return broken(at.Seq+1, "the line is missing, and all after it: it was there when the end was noted")
	}
	return AuditReport{Head: at}, nil
}

// where is the filter as a condition.
func (f AuditFilter) where(tenant string) (string, []any) {
	cond, args := "tenant = ?", []any{tenant}
	and := func(text string, values ...any) {
		cond += " AND " + text
		args = append(args, values...)
	}
	part := func(s string) string {
		return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(s) + "%"
	}
	for _, x := range []struct{ column, part string }{{"actor", f.Actor}, {"action", f.Action}, {"object", f.Object}} {
		if x.part != "" {
			and(x.column+` LIKE ? ESCAPE '\'`, part(x.part))
		}
	}
	if f.Outcome != "" {
		and("outcome = ?", f.Outcome)
	}
	if f.Text != "" {
		p := part(f.Text)
		and(`(actor LIKE ? ESCAPE '\' OR action LIKE ? ESCAPE '\' OR object LIKE ? ESCAPE '\' OR detail LIKE ? ESCAPE '\' OR address LIKE ? ESCAPE '\')`, p, p, p, p, p)
	}
	if !f.From.IsZero() {
		and("time >= ?", micros(f.From))
	}
	if !f.To.IsZero() {
		and("time < ?", micros(f.To))
	}
	return cond, args
}

// ListAudit lists the tenant's audit log, newest first.
func (c *Control) ListAudit(ctx context.Context, tenant string, f AuditFilter, p Page) ([]AuditEntry, string, error) {
	cond, args := f.where(tenant)
	if p.Cursor != "" {
		cond += " AND id < ?"
		args = append(args, p.Cursor)
	}
	list, err := collect(ctx, c.reader, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE "+cond+" ORDER BY id DESC LIMIT ?", append(args, p.limit()+1)...)
	list, next := cut(list, p, func(e AuditEntry) string { return e.ID })
	return list, next, err
}

// AuditAfter lists lines of the tenant's audit log in their order, those after a place in it.
func (c *Control) AuditAfter(ctx context.Context, tenant string, after int64, f AuditFilter, limit int) ([]AuditEntry, error) {
	cond, args := f.where(tenant)
	return collect(ctx, c.reader, scanAudit, "SELECT "+auditColumns+" FROM audit WHERE "+cond+" AND seq > ? ORDER BY seq LIMIT ?", append(args, after, limit)...)
}

// Setting returns a small thing without a table of its own; a missing one is "".
func (c *Control) Setting(ctx context.Context, tenant, name string) (string, error) {
	list, err := collect(ctx, c.reader, func(r row) (v string, err error) {
		err = r.Scan(&v)
		return v, err
	}, "SELECT value FROM settings WHERE tenant = ? AND name = ?", tenant, name)
	if err != nil || len(list) == 0 {
		return "", err
	}
	return list[0], nil
}

// PutSetting keeps a setting.
func (c *Control) PutSetting(ctx context.Context, tenant, name, value string) error {
	_, err := c.exec(ctx, `INSERT INTO settings (tenant, name, value) VALUES (?, ?, ?)
		ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value`, tenant, name, value)
	return err
}
