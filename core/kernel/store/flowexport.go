package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/picketwatch/picket/sdk"
)

const exportName = "export-" // folders of exports that are being made

// FlowExport asks for flows as a file.
type FlowExport struct {
	Tenant string
	Filter FlowFilter
	Format string // "csv" or "parquet"
	Limit  int    // at most so many flows, the newest first; 1,000,000 when 0
}

// FlowFile is an export. Its file has no name any more and is gone once it is closed.
type FlowFile struct {
	File  *os.File
	Flows int
}

// Close gives the space back.
func (f FlowFile) Close() error { return f.File.Close() }

// Export writes the flows that a filter admits into a file.
func (f *Flows) Export(ctx context.Context, x FlowExport) (FlowFile, error) {
	if x.Format != "csv" && x.Format != "parquet" {
		return FlowFile{}, &QueryError{fmt.Sprintf("flows are exported as csv or parquet, not as %q", x.Format)}
	}
	if x.Limit <= 0 {
		x.Limit = 1_000_000
	}
	parts, incomplete, release := f.parts(ctx, f.runsOf(x.Tenant, x.Filter.Captures))
	defer release()
	if incomplete {
		return FlowFile{}, errors.New("export flows: a part of the store cannot be read; the log says which")
	}
	var selects []string
	var args []any
	for _, p := range parts {
		c, some, err := f.where(ctx, p, x.Filter)
		if err != nil {
			return FlowFile{}, fmt.Errorf("export flows: %w", err)
		}
		if some {
			selects, args = append(selects, exportSQL(p, c, x)), append(args, c.args...)
		}
	}
	if len(selects) == 0 {
		return FlowFile{}, ErrNotFound
	}
	query := fmt.Sprintf("SELECT * FROM (%s) ORDER BY start DESC, capture, id DESC LIMIT %d", strings.Join(selects, " UNION ALL "), x.Limit)
	return f.write(ctx, query, args, x.Format)
}

// write runs a query into a file. It goes by a table, because a statement that writes a file takes no parameters.
func (f *Flows) write(ctx context.Context, query string, args []any, format string) (out FlowFile, err error) {
	dir, err := os.MkdirTemp(f.cfg.Dir, exportName)
	if err != nil {
		return out, explainDuck(f.cfg.Dir, err)
	}
	defer os.RemoveAll(dir)
	conn, err := f.engine.db.Conn(ctx)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE exported AS "+query, args...); err != nil {
		return out, explainDuck(f.cfg.Dir, err)
	}
	defer conn.ExecContext(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS exported") //nolint:errcheck // it goes with the connection, too
	if err := conn.QueryRowContext(ctx, "SELECT count(*) FROM exported").Scan(&out.Flows); err != nil {
		return out, explainDuck(f.cfg.Dir, err)
	}
	options := "FORMAT parquet, COMPRESSION zstd"
	if format == "csv" {
		options = "FORMAT csv, HEADER true"
	}
	path := filepath.Join(dir, "flows")
	if _, err := conn.ExecContext(ctx, "COPY exported TO "+quote(path)+" ("+options+")"); err != nil {
		return out, explainDuck(f.cfg.Dir, err)
	}
	out.File, err = os.Open(path)
	return out, err
}

// exportSQL selects what a list shows of the flows of one segment, in words.
func exportSQL(p part, c *conditions, x FlowExport) string {
	name := "coalesce(n.text, '')"
	if x.Format == "csv" {
		// A name is whatever somebody sent. In a table calculation it must not become a formula.
		name = `CASE WHEN regexp_matches(n.text, '^[=+\-@\t\r]') THEN '''' || n.text ELSE coalesce(n.text, '') END`
	}
	db := p.seg.alias + ".main."
	return fmt.Sprintf(`(WITH f AS (SELECT * FROM %[1]sflows WHERE %[2]s ORDER BY start DESC, run DESC, id DESC LIMIT %[3]d),
		w AS (SELECT DISTINCT id, text FROM %[1]swords)
		SELECT r.capture, f.id, f.start, f.duration / 1e6 AS duration, %[4]s AS src, f.src_port, %[5]s AS dst, f.dst_port, f.proto, %[6]s AS end_reason,
			coalesce(a.text, '') AS app, coalesce(t.text, '') AS tunnel, f.tunnel_id, f.vlan, f.packets, f.fwd_packets, f.bytes, f.fwd_bytes, %[7]s AS name
		FROM f JOIN %[1]sruns r USING (run) LEFT JOIN w a ON a.id = f.app LEFT JOIN w t ON t.id = f.tunnel LEFT JOIN %[1]snames n ON n.name = f.name)`,
		db, c, x.Limit, addressSQL("f.src"), addressSQL("f.dst"), reasonSQL("f.reason"), name)
}

// addressSQL writes an address as text; one of IPv6 in its long form.
func addressSQL(column string) string {
	group := func(column string, shift int) string { return fmt.Sprintf("(%s >> %d) & 65535", column, shift) }
	octet := func(shift int) string { return fmt.Sprintf("(%s >> %d) & 255", column, shift) }
	var groups []string
	for _, half := range []string{column + "_hi", column} {
		for shift := 48; shift >= 0; shift -= 16 {
			groups = append(groups, group(half, shift))
		}
	}
	return fmt.Sprintf("CASE WHEN %[1]s_hi = 0 AND %[1]s = 0 THEN '' WHEN %[1]s_hi = 0 AND %[1]s >> 32 = 65535 THEN format('{}.{}.{}.{}', %[2]s) ELSE format('{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}:{:x}', %[3]s) END",
		column, strings.Join([]string{octet(24), octet(16), octet(8), octet(0)}, ", "), strings.Join(groups, ", "))
}

func reasonSQL(column string) string {
	text := "CASE " + column
	for r := sdk.EndNone; r <= sdk.EndCapture; r++ {
		text += fmt.Sprintf(" WHEN %d THEN %s", r, quote(r.String()))
	}
	return text + " ELSE 'unknown' END"
}
