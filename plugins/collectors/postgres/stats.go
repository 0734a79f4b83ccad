package postgres

import (
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/picketwatch/picket/plugins/internal/measure"
)

const maxDatabases = "200"

// questions are answered by PostgreSQL 10 and later. Names of columns become metrics below.
const questions = `
SELECT datname AS database, numbackends AS backends, xact_commit AS commits, xact_rollback AS rollbacks,
	blks_read, blks_hit, tup_returned, tup_fetched, tup_inserted, tup_updated, tup_deleted,
	deadlocks, temp_files, temp_bytes,
	CASE WHEN has_database_privilege(datname, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER') THEN pg_database_size(datid) END AS size
FROM pg_stat_database
WHERE datname IS NOT NULL AND datname NOT IN ('template0', 'template1')
ORDER BY datname LIMIT ` + maxDatabases + `;
SELECT (SELECT count(*) FROM pg_database WHERE NOT datistemplate) AS databases,
	current_setting('max_connections') AS max_connections,
	extract(epoch FROM clock_timestamp() - pg_postmaster_start_time()) AS uptime;
SELECT coalesce(nullif(host(client_addr), ''), 'unix') AS client, application_name AS application,
	pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_lsn() END, replay_lsn) AS delay
FROM pg_stat_replication
ORDER BY 1, 2 LIMIT 100`

// column is a number that becomes a series.
type column struct {
	metric, unit string
	counter      bool
}

var columns = map[string]column{
	"backends":        {"postgresql.backends", "1", false},
	"commits":         {"postgresql.commits", "1", true},
	"rollbacks":       {"postgresql.rollbacks", "1", true},
	"blks_read":       {"postgresql.blks_read", "{blks_read}", true},
	"blks_hit":        {"postgresql.blks_hit", "{blks_hit}", true},
	"tup_returned":    {"postgresql.tup_returned", "{tup_returned}", true},
	"tup_fetched":     {"postgresql.tup_fetched", "{tup_fetched}", true},
	"tup_inserted":    {"postgresql.tup_inserted", "{tup_inserted}", true},
	"tup_updated":     {"postgresql.tup_updated", "{tup_updated}", true},
	"tup_deleted":     {"postgresql.tup_deleted", "{tup_deleted}", true},
	"deadlocks":       {"postgresql.deadlocks", "{deadlock}", true},
	"temp_files":      {"postgresql.temp_files", "{temp_file}", true},
	"temp_bytes":      {"postgresql.temp.io", "By", true},
	"size":            {"postgresql.db_size", "By", false},
	"databases":       {"postgresql.database.count", "{database}", false},
	"max_connections": {"postgresql.connection.max", "{connection}", false},
	"uptime":          {"postgresql.uptime", "s", false},
	"delay":           {"postgresql.replication.data_delay", "By", false},
}

// texts are columns that become labels of their row.
var texts = map[string]string{
	"database": "postgresql.database.name", "client": "replication_client", "application": "application_name",
}

const maxText = 255

// text is a value as it can stand in a label.
func text(value []byte) string {
	return strings.ToValidUTF8(string(value[:min(len(value), maxText)]), "?")
}

// samples adds a series for each number of each row. A NULL is not known and gives none.
func samples(out *measure.Samples, tables []*pgconn.Result) {
	for _, t := range tables {
		for _, row := range t.Rows {
			if len(row) != len(t.FieldDescriptions) { // no PostgreSQL says so
				continue
			}
			var labels []string
			for i, f := range t.FieldDescriptions {
				if label := texts[f.Name]; label != "" {
					labels = append(labels, label, text(row[i]))
				}
			}
			for i, f := range t.FieldDescriptions {
				c, known := columns[f.Name]
				n, err := strconv.ParseFloat(string(row[i]), 64)
				switch {
				case !known || row[i] == nil || err != nil || math.IsNaN(n) || math.IsInf(n, 0):
				case c.counter:
					out.Counter(c.metric, c.unit, n, labels...)
				default:
					out.Gauge(c.metric, c.unit, n, labels...)
				}
			}
		}
	}
}
