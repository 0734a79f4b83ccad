package store

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// sqlTable is a table of the console and where it comes from: one of telemetry, or a table of the control state.
type sqlTable struct {
	SQLTable
	from    string   // table of the control state; "" for telemetry
	columns []string // of it, one for each column
	order   string   // by which the newest come first
	needs   []string // other tables that the view reads
	view    string   // of telemetry: what is selected; $ is the table's own file
}

// Types of columns.
const (
	sqlString = "VARCHAR"
	sqlTime   = "TIMESTAMP" // UTC
	sqlInt    = "BIGINT"
	sqlFloat  = "DOUBLE"
	sqlBool   = "BOOLEAN"
	sqlJSON   = "JSON"
)

// stored describes a table of the control state. Each column is "name type, doc" or "name=expression type, doc". What is not
// named here is not shown: hashes, keys, secrets, configurations.
func stored(name, from, order, doc string, columns ...string) sqlTable {
	t := sqlTable{SQLTable: SQLTable{Name: name, Doc: doc}, from: from, order: order}
	for _, text := range append([]string{"tenant VARCHAR, whose it is"}, columns...) {
		head, doc, _ := strings.Cut(text, ", ")
		field, kind, _ := strings.Cut(head, " ")
		field, expression, other := strings.Cut(field, "=")
		if !other {
			expression = field
		}
		t.Columns = append(t.Columns, SQLColumn{Name: field, Type: kind, Doc: doc})
		t.columns = append(t.columns, expression)
	}
	return t
}

// timed describes a table of telemetry.
func timed(name, view string, needs []string, doc string, columns ...string) sqlTable {
	t := stored(name, "", "", doc, columns...)
	t.Timed, t.view, t.needs = name != "series", view, needs
	return t
}

const ofSeries = `SELECT s.ts AS time, c.tenant, c.agent, c.metric, c.unit, c.labels, s.* EXCLUDE (ts, series_id), s.series_id AS series FROM $ s JOIN series c ON c.id = s.series_id`

func sums(name, doc string) sqlTable {
	return timed(name, ofSeries, []string{"series"}, doc, "time TIMESTAMP, when the step begins", "agent VARCHAR, id of the machine that measured", "metric VARCHAR, its name", "unit VARCHAR, as OpenTelemetry writes it",
		"labels JSON, labels->>'x' is one", "count BIGINT, samples in the step", "sum DOUBLE, of the samples", "min DOUBLE, the least", "max DOUBLE, the greatest", "last DOUBLE, the newest",
		"increase DOUBLE, of a counter; resets allowed for", "series BIGINT, number of the series")
}

// sqlTables are all tables of the console, in the order in which they are shown.
var sqlTables = []sqlTable{
	timed("series", "SELECT * FROM $", nil, "Each line of measurements that was ever seen.", "id BIGINT, its number", "agent VARCHAR, id of the machine; push:… for what was pushed", "metric VARCHAR, its name",
		"unit VARCHAR, as OpenTelemetry writes it", "type VARCHAR, gauge or counter", "labels JSON, labels->>'x' is one", "created TIMESTAMP, when it was first seen"),
	timed("samples", ofSeries, []string{"series"}, "What was measured, as it came.", "time TIMESTAMP, when", "agent VARCHAR, id of the machine that measured", "metric VARCHAR, its name", "unit VARCHAR, as OpenTelemetry writes it",
		"labels JSON, labels->>'x' is one", "value DOUBLE, the number", "series BIGINT, number of the series"),
	sums("samples_5m", "Sums of five minutes, of days that are over."),
	sums("samples_1h", "Sums of hours, of days that are over."),
	sums("samples_1d", "Sums of days that are over."),
	timed("flows", "SELECT * FROM $", nil, "Conversations in captured traffic, by when they were recorded.", "capture VARCHAR, id of the capture it was in", "agent VARCHAR, id of the machine that captured it, if one did", "id BIGINT, within the capture",
		"start TIMESTAMP, its first packet", "seconds DOUBLE, from first packet to last", "src VARCHAR, address of who began", "src_port BIGINT, port", "dst VARCHAR, address of who was called", "dst_port BIGINT, port",
		"proto BIGINT, IP protocol: 6 is TCP; 17 is UDP", "app VARCHAR, what was spoken", "packets BIGINT, both ways", "bytes BIGINT, both ways", "sent_packets BIGINT, from who began", "sent_bytes BIGINT, from who began", "vlan BIGINT, tag; 0 is none"),
	stored("agents", "agents", "enrolled DESC", "Machines.", "id VARCHAR, its id", "name VARCHAR, as people call it", "grp VARCHAR, its group", "os VARCHAR, operating system", "arch VARCHAR, processor",
		"version VARCHAR, of the agent", "address VARCHAR, where it was seen last", "labels JSON, its labels", "disabled BOOLEAN, shut out", "enrolled TIMESTAMP, when", "last_seen TIMESTAMP, when"),
	stored("devices", "devices", "last_seen DESC", "The inventory of the network.", "id VARCHAR, its id", "ips JSON, addresses", "macs JSON, hardware addresses", "hostnames JSON, names", "vendor VARCHAR, who made it",
		"first_seen TIMESTAMP, when", "last_seen TIMESTAMP, when", "sources JSON, plugins that saw it", "facts JSON, what is known of it"),
	stored("alerts", "alerts", "last_seen DESC", "Alerts.", "id VARCHAR, its id", "incident_id VARCHAR, what it belongs to", "state VARCHAR, firing; acknowledged; resolved", "severity VARCHAR, how bad",
		"risk BIGINT, 0 to 100", "confidence DOUBLE, 0 to 1", "title VARCHAR, in words", "detector VARCHAR, plugin", "rule VARCHAR, of the plugin", "techniques JSON, of ATT&CK", "src VARCHAR, who acts",
		"dst VARCHAR, on whom", "first_seen TIMESTAMP, when", "last_seen TIMESTAMP, when", "count BIGINT, findings in it", "capture_id VARCHAR, where it was seen", "agent VARCHAR, who saw it", "acknowledged_by VARCHAR, who"),
	stored("incidents", "incidents", "last_seen DESC", "Alerts that belong together.", "id VARCHAR, its id", "state VARCHAR, open; acknowledged; closed", "title VARCHAR, in words", "severity VARCHAR, how bad", "risk BIGINT, 0 to 100",
		"confidence DOUBLE, 0 to 1", "first_seen TIMESTAMP, when", "last_seen TIMESTAMP, when", "alerts BIGINT, how many", "entities JSON, hosts in it", "merged_into VARCHAR, the incident that it is a part of now"),
	stored("findings", "findings", "created DESC", "What detectors found, with its evidence.", "id VARCHAR, its id", "alert_id VARCHAR, what it became", "capture_id VARCHAR, where", "agent VARCHAR, who saw it", "body JSON, all of it", "created TIMESTAMP, when"),
	stored("suppressions", "suppressions", "created DESC", "Findings that somebody does not want to hear of.", "id VARCHAR, its id", "detector VARCHAR, plugin", "rule VARCHAR, of it", "entity VARCHAR, at either end", "reason VARCHAR, why", "by VARCHAR, who", "hits BIGINT, kept back", "last_hit TIMESTAMP, when", "expires TIMESTAMP, when", "created TIMESTAMP, when"),
	stored("feedback", "feedback", "created DESC", "What people judged.", "id VARCHAR, its id", "incident_id VARCHAR, what", "alert_id VARCHAR, what", "verdict VARCHAR, the judgement", "note VARCHAR, in words", "by VARCHAR, who", "created TIMESTAMP, when"),
	stored("captures", "captures", "created DESC", "Capture files that were handed in.", "id VARCHAR, its id", "name VARCHAR, of the file", "sha256 VARCHAR, of its bytes", "size BIGINT, bytes of the file", "state VARCHAR, queued; running; done; …", "packets BIGINT, in it",
		"bytes BIGINT, of its packets", "flows BIGINT, in it", "first_packet TIMESTAMP, when", "last_packet TIMESTAMP, when", "findings BIGINT, in it", "error VARCHAR, why it failed", "created_by VARCHAR, who", "created TIMESTAMP, when", "finished TIMESTAMP, when"),
	stored("notices", "notices", "created DESC", "Deliveries to notifiers.", "id VARCHAR, its id", "alert_id VARCHAR, of what", "notifier VARCHAR, instance", "state VARCHAR, queued; delivered; failed; dead", "attempts BIGINT, so far", "last_error VARCHAR, why", "created TIMESTAMP, when", "updated TIMESTAMP, when"),
	stored("commands", "commands", "issued DESC", "Orders to machines, without what they said.", "id VARCHAR, its id", "agent_id VARCHAR, to whom", "type VARCHAR, what", "state VARCHAR, how it went", "created_by VARCHAR, who", "issued TIMESTAMP, when", "finished TIMESTAMP, when"),
	stored("plugins", "assignments", "created DESC", "Plugins that are enabled, without their settings.", "instance VARCHAR, its name", "plugin VARCHAR, which", "version VARCHAR, of it", "runtime VARCHAR, process or wasm", "node_type VARCHAR, server; agent; agents", "node_id VARCHAR, which", "enabled BOOLEAN, or not", "created_by VARCHAR, who", "created TIMESTAMP, when", "updated TIMESTAMP, when"),
	stored("users", "users", "created DESC", "People, without what they prove themselves with.", "id VARCHAR, its id", "username VARCHAR, as they sign in", "role VARCHAR, what they may", "disabled BOOLEAN, shut out", "created TIMESTAMP, when", "signed_in TIMESTAMP, the last time"),
	stored("audit", "audit", "id DESC", "Who did what.", "seq BIGINT, place in the chain", "time TIMESTAMP, when", "actor VARCHAR, who", "action VARCHAR, what", "object VARCHAR, to what", "outcome VARCHAR, ok; refused; failed", "detail VARCHAR, in words", "address VARCHAR, from where"),
}

var word = regexp.MustCompile(`[A-Za-z_][A-Za-z_0-9]*`)

// mentions reports whether one of the words stands in a query, be it as a table or not.
func mentions(query string, words ...string) bool {
	for _, w := range word.FindAllString(query, -1) {
		if slices.Contains(words, strings.ToLower(w)) {
			return true
		}
	}
	return false
}

// wants reports whether a query reads a table, itself or through another.
func wants(query, name string) bool {
	for _, t := range sqlTables {
		if (t.Name == name || slices.Contains(t.needs, name)) && mentions(query, t.Name) {
			return true
		}
	}
	return false
}

// ready makes the copy of a table that a query reads. A table that the query does not name has an empty view, so that it can be
// described; rows is -1 then.
func (s *SQLConsole) ready(ctx context.Context, dir string, t sqlTable, q SQLQuery) (view sqlView, rows int64, err error) {
	if !wants(q.SQL, t.Name) {
		var columns []string
		for _, c := range t.Columns {
			columns = append(columns, "NULL::"+c.Type+" AS "+ident(c.Name))
		}
		return sqlView{Text: "CREATE VIEW " + t.Name + " AS SELECT " + strings.Join(columns, ", ") + " WHERE false"}, -1, nil
	}
	path := filepath.Join(dir, t.Name)
	if t.from != "" {
		rows, err := s.Control.copyList(ctx, path, t)
		return sqlView{Text: t.listView(path), Files: []string{path}}, rows, err
	}
	var files []string
	switch t.Name {
	case "series":
		files, rows, err = s.Telemetry.copySeries(ctx, path)
	case "samples":
		files, rows, err = s.Telemetry.copySamples(ctx, path, q)
	case "flows":
		files, rows, err = s.Flows.copyFlows(ctx, path, q)
	default:
		files, rows, err = s.Telemetry.linkSums(ctx, path, strings.TrimPrefix(t.Name, "samples_"), q)
	}
	source := "(SELECT * FROM read_parquet([" + quoteAll(files) + "])"
	if t.Timed && t.Name != "flows" {
		source += fmt.Sprintf(" WHERE ts >= %s AND ts < %s", timestamp(q.From.UnixMicro()), timestamp(q.To.UnixMicro()))
	}
	body := strings.ReplaceAll(t.view, "$", source+")")
	var columns []string
	for _, c := range t.Columns {
		columns = append(columns, ident(c.Name)+"::"+c.Type+" AS "+ident(c.Name))
	}
	return sqlView{Text: "CREATE VIEW " + t.Name + " AS SELECT " + strings.Join(columns, ", ") + " FROM (" + body + ")", Files: files}, rows, err
}

func ident(name string) string { return `"` + name + `"` }

// listView reads the lines that copyList wrote.
func (t sqlTable) listView(path string) string {
	columns, kinds := make([]string, len(t.Columns)), make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i], kinds[i] = ident(c.Name), quote(c.Name)+": "+quote(c.Type)
	}
	return fmt.Sprintf("CREATE VIEW %s AS SELECT %s FROM read_json(%s, format = 'newline_delimited', maximum_object_size = 16777216, columns = {%s})",
		t.Name, strings.Join(columns, ", "), quote(path), strings.Join(kinds, ", "))
}

// copyList writes the newest rows of a table as lines of JSON.
func (c *Control) copyList(ctx context.Context, path string, t sqlTable) (n int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	quoted := make([]string, len(t.columns))
	for i, name := range t.columns {
		quoted[i] = ident(name)
	}
	rows, err := c.reader.QueryContext(ctx, "SELECT "+strings.Join(quoted, ", ")+" FROM "+t.from+" ORDER BY "+t.order+" LIMIT "+strconv.Itoa(sqlListRows))
	if err != nil {
		return 0, explain(err)
	}
	defer rows.Close()
	out := bufio.NewWriter(f)
	values, into := make([]any, len(t.Columns)), make([]any, len(t.Columns))
	for i := range values {
		into[i] = &values[i]
	}
	for ; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		line := make(map[string]any, len(values))
		for i, c := range t.Columns {
			line[c.Name] = listValue(c.Type, values[i])
		}
		text, err := json.Marshal(line)
		if err != nil {
			return n, err
		}
		if _, err := out.Write(append(text, '\n')); err != nil {
			return n, err
		}
	}
	if err := rows.Err(); err != nil {
		return n, explain(err)
	}
	return n, out.Flush()
}

// listValue is a value of SQLite as read_json takes it for a type.
func listValue(kind string, v any) any {
	if raw, ok := v.([]byte); ok {
		v = string(raw)
	}
	switch kind {
	case sqlTime:
		us, ok := v.(int64)
		if !ok || us == 0 {
			return nil
		}
		return time.UnixMicro(us).UTC().Format("2006-01-02 15:04:05.000000")
	case sqlBool:
		return v == int64(1) || v == true
	case sqlJSON:
		text, ok := v.(string)
		if !ok || !json.Valid([]byte(text)) {
			return nil
		}
		return json.RawMessage(text)
	}
	return v
}

// copyParquet writes what a query selects, if it is not too much.
func (e *engine) copyParquet(ctx context.Context, query, path string) (int64, error) {
	var n int64
	if err := e.db.QueryRowContext(ctx, "SELECT count(*) FROM ("+query+")").Scan(&n); err != nil {
		return 0, err
	}
	if n > sqlTableRows {
		return n, &QueryError{fmt.Sprintf("%s of this time has %d rows, and %d are read at most; choose a shorter time, or sums (samples_5m, samples_1h, samples_1d)", filepath.Base(path), n, sqlTableRows)}
	}
	_, err := e.db.ExecContext(ctx, "COPY ("+query+") TO "+quote(path)+" (FORMAT parquet, COMPRESSION snappy)")
	return n, err
}

func (t *Telemetry) copySeries(ctx context.Context, path string) ([]string, int64, error) {
	n, err := t.engine.copyParquet(ctx, "SELECT id, tenant, agent, metric, unit, type, labels, created FROM "+catalogueAlias+".main.series", path)
	return []string{path}, n, err
}

func (t *Telemetry) copySamples(ctx context.Context, path string, q SQLQuery) ([]string, int64, error) {
	from, to := q.From.UnixMicro(), q.To.UnixMicro()
	held, missing := t.segments.forRead(ctx, dayOf(from), dayOf(to-1))
	defer t.segments.release(held...)
	for _, err := range missing {
		t.failed(err)
	}
	parts := []string{"SELECT NULL::TIMESTAMP AS ts, NULL::UINTEGER AS series_id, NULL::DOUBLE AS value WHERE false"}
	for _, seg := range held {
		parts = append(parts, fmt.Sprintf("SELECT ts, series_id, value FROM %s WHERE ts >= %s AND ts < %s", t.rows(seg), timestamp(from), timestamp(to)))
	}
	n, err := t.engine.copyParquet(ctx, strings.Join(parts, " UNION ALL "), path)
	return []string{path}, n, err
}

// linkSums gives the files of roll-ups another name, so that they stay while they are read.
func (t *Telemetry) linkSums(ctx context.Context, path, resolution string, q SQLQuery) (files []string, rows int64, err error) {
	empty := path + ".none"
	none := "SELECT NULL::TIMESTAMP AS ts, NULL::UINTEGER AS series_id, NULL::UBIGINT AS count, NULL::DOUBLE AS sum, NULL::DOUBLE AS min, NULL::DOUBLE AS max, NULL::DOUBLE AS first, NULL::DOUBLE AS last, NULL::TIMESTAMP AS until, NULL::DOUBLE AS increase, NULL::BIGINT AS covered WHERE false"
	if _, err := t.engine.copyParquet(ctx, none, empty); err != nil {
		return nil, 0, err
	}
	files = []string{empty}
	for i, res := range resolutions {
		if res.name != resolution {
			continue
		}
		for day := dayOf(q.From.UnixMicro()); day <= dayOf(q.To.UnixMicro()-1); day++ {
			from := t.rollups.newest(i, day)
			if from == "" {
				continue
			}
			to := fmt.Sprintf("%s.%d", path, day)
			if err := present(os.Link(from, to)); err != nil {
				return nil, 0, err
			}
			if _, err := os.Stat(to); err == nil {
				files = append(files, to)
			}
		}
	}
	if len(files) > 2000 {
		return nil, 0, &QueryError{"that is sums of more than 2000 days; choose a shorter time"}
	}
	err = t.engine.db.QueryRowContext(ctx, "SELECT count(*) FROM read_parquet(["+quoteAll(files)+"])").Scan(&rows)
	return files, rows, err
}

// addressSQL writes an address as people do; those of IPv6 are not shortened.
func addressSQL(column string) string {
	hi, lo := column+"_hi", column
	var groups []string
	for _, half := range []string{hi, lo} {
		for shift := 48; shift >= 0; shift -= 16 {
			groups = append(groups, fmt.Sprintf("format('{:x}', (%s >> %d) & 65535)", half, shift))
		}
	}
	return fmt.Sprintf("CASE WHEN %[1]s = 0 AND (%[2]s >> 32) = 65535 THEN concat((%[2]s >> 24) & 255, '.', (%[2]s >> 16) & 255, '.', (%[2]s >> 8) & 255, '.', %[2]s & 255) ELSE concat_ws(':', %[3]s) END",
		hi, lo, strings.Join(groups, ", "))
}

func (f *Flows) copyFlows(ctx context.Context, path string, q SQLQuery) ([]string, int64, error) {
	held, missing := f.segments.forRead(ctx, dayOf(q.From.UnixMicro()), dayOf(q.To.UnixMicro()-1))
	defer f.segments.release(held...)
	for _, err := range missing {
		f.cfg.Log.Error("read flows", "error", err)
	}
	parts := []string{`SELECT '' AS tenant, '' AS capture, '' AS agent, 0::UBIGINT AS id, NULL::TIMESTAMP AS start, 0.0::DOUBLE AS seconds, '' AS src, 0::USMALLINT AS src_port, '' AS dst, 0::USMALLINT AS dst_port,
		0::UTINYINT AS proto, '' AS app, 0::BIGINT AS packets, 0::BIGINT AS bytes, 0::BIGINT AS sent_packets, 0::BIGINT AS sent_bytes, 0::USMALLINT AS vlan WHERE false`}
	for _, seg := range held {
		db := seg.alias + ".main."
		parts = append(parts, fmt.Sprintf(`SELECT r.tenant, r.capture, coalesce(l.agent, ''), f.id, f.start, f.duration / 1e6, %s, f.src_port, %s, f.dst_port, f.proto, coalesce(w.text, ''), f.packets, f.bytes, f.fwd_packets, f.fwd_bytes, f.vlan
			FROM %[3]sflows f JOIN %[3]sruns r USING (run) LEFT JOIN %[3]slive l USING (run) LEFT JOIN %[3]swords w ON w.id = f.app`, addressSQL("f.src"), addressSQL("f.dst"), db))
	}
	n, err := f.engine.copyParquet(ctx, strings.Join(parts, " UNION ALL "), path)
	return []string{path}, n, err
}
