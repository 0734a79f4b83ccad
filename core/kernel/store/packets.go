package store

import (
	"cmp"
	"context"
	"database/sql"
	"time"

	"github.com/picketwatch/picket/core/kernel/carved"
)

// PacketsExpired is why packets that were kept are there no more.
const PacketsExpired = "expired"

// FindingPackets says which packets an agent kept for a finding, or why there are none.
type FindingPackets struct {
	Tenant, Finding string
	Agent           string
	File            string // its name
	Why             string // there are none: off, gone, limit, failed, expired; else ''
	Bytes           int64  // of the file that holds them
	Kept            carved.Kept
	Created         time.Time
}

const packetColumns = "tenant, finding, agent, file, why, bytes, matched, missing, list, created"

func scanPackets(r row) (p FindingPackets, err error) {
	err = r.Scan(&p.Tenant, &p.Finding, &p.Agent, &p.File, &p.Why, &p.Bytes, &p.Kept.Matched, &p.Kept.Missing, fromJSON(&p.Kept.Packets), stamp(&p.Created))
	return p, explain(err)
}

// FindingOfAgent reports whether an agent's finding has become part of an alert.
func (c *Control) FindingOfAgent(ctx context.Context, tenant, agent, id string) (known bool, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM findings WHERE tenant = ? AND id = ? AND agent = ?)", tenant, id, agent).Scan(&known)
	return known, err
}

// PutFindingPackets notes the packets of a finding in place of those before. A finding that is gone is ErrNotFound.
func (c *Control) PutFindingPackets(ctx context.Context, p FindingPackets) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		res, err := tx.ExecContext(ctx, `INSERT INTO finding_packets (tenant, finding, agent, file, why, packets, bytes, matched, missing, list, created)
			SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE EXISTS (SELECT 1 FROM findings WHERE tenant = ?1 AND id = ?2)
			ON CONFLICT (tenant, finding) DO UPDATE SET file = excluded.file, why = excluded.why, packets = excluded.packets, bytes = excluded.bytes,
			matched = excluded.matched, missing = excluded.missing, list = excluded.list`,
			p.Tenant, p.Finding, p.Agent, p.File, p.Why, len(p.Kept.Packets), p.Bytes, p.Kept.Matched, p.Kept.Missing, toJSON(p.Kept.Packets), micros(c.now()))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return cmp.Or(err, ErrNotFound)
		}
		return nil
	})
}

// PacketsOfFinding returns what is noted of a finding's packets.
func (c *Control) PacketsOfFinding(ctx context.Context, tenant, finding string) (FindingPackets, error) {
	return scanPackets(c.reader.QueryRowContext(ctx, "SELECT "+packetColumns+" FROM finding_packets WHERE tenant = ? AND finding = ?", tenant, finding))
}

// PacketsOfAlert returns what is noted of the packets of an alert's findings, without the list of them but with their number.
func (c *Control) PacketsOfAlert(ctx context.Context, tenant, alert string) (map[string]FindingPackets, error) {
	list, err := collect(ctx, c.reader, func(r row) (p FindingPackets, err error) {
		var n int
		err = r.Scan(&p.Tenant, &p.Finding, &p.Why, &p.Bytes, &p.Kept.Matched, &p.Kept.Missing, &n, stamp(&p.Created))
		p.Kept.Packets = make([]carved.KeptPacket, n)
		return p, explain(err)
	}, `SELECT tenant, finding, why, bytes, matched, missing, packets, created FROM finding_packets
		WHERE tenant = ?1 AND finding IN (SELECT id FROM findings WHERE tenant = ?1 AND alert_id = ?2)`, tenant, alert)
	out := map[string]FindingPackets{}
	for _, p := range list {
		out[p.Finding] = p
	}
	return out, err
}

// ExpirePackets notes that packets are there no more: those from before a moment, and the oldest until at most so many bytes are left, of
// which one agent has no more than half.
func (c *Control) ExpirePackets(ctx context.Context, before time.Time, most int64) error {
	return c.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE finding_packets SET why = ?, file = '', packets = 0, bytes = 0, list = '[]' WHERE bytes > 0 AND (created < ? OR
			rowid IN (SELECT rowid FROM (SELECT rowid, sum(bytes) OVER (ORDER BY created DESC, rowid DESC) AS whole,
				sum(bytes) OVER (PARTITION BY agent ORDER BY created DESC, rowid DESC) AS own FROM finding_packets WHERE bytes > 0) WHERE whole > ? OR own > ?))`,
			PacketsExpired, micros(before), most, most/2)
		return err
	})
}

// PacketFiles are the names of the files in which packets of findings are.
func (c *Control) PacketFiles(ctx context.Context) (map[string]bool, error) {
	list, err := collect(ctx, c.reader, func(r row) (name string, err error) { return name, r.Scan(&name) }, "SELECT file FROM finding_packets WHERE bytes > 0")
	out := map[string]bool{}
	for _, name := range list {
		out[name] = true
	}
	return out, err
}

// HasFinding reports whether an alert has a finding.
func (c *Control) HasFinding(ctx context.Context, tenant, alert, id string) (known bool, err error) {
	err = c.reader.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM findings WHERE tenant = ? AND id = ? AND alert_id = ?)", tenant, id, alert).Scan(&known)
	return known, err
}
