package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// sqlOrder is what the worker is told.
type sqlOrder struct {
	SQL   string    `json:"sql"`
	Views []sqlView `json:"views"`
}

// sqlView is a table as the query sees it, and the files that it reads.
type sqlView struct {
	Text  string   `json:"text"` // CREATE VIEW …
	Files []string `json:"files"`
}

// SQLWorker answers one query, in a process of its own: the order comes from in, the answer goes to out. An error is the
// program's; what is wrong with the query stands in the answer.
func SQLWorker(ctx context.Context, in io.Reader, out io.Writer) error {
	if err := confineSQL(); err != nil {
		return err
	}
	var order sqlOrder
	if err := json.NewDecoder(in).Decode(&order); err != nil {
		return err
	}
	db, err := openSQL(ctx, order)
	if err != nil {
		return err
	}
	defer db.Close()
	answer, err := answerSQL(ctx, db, order.SQL)
	if err != nil {
		return json.NewEncoder(out).Encode(map[string]string{"error": sqlWords(err)})
	}
	return json.NewEncoder(out).Encode(answer)
}

// openSQL opens an engine that sees the views and nothing else, and cannot be told otherwise.
func openSQL(ctx context.Context, order sqlOrder) (*sql.DB, error) {
	options := url.Values{
		"memory_limit":                 {strconv.Itoa(sqlMemory>>20) + "MiB"},
		"threads":                      {strconv.Itoa(sqlThreads)},
		"temp_directory":               {""},
		"autoinstall_known_extensions": {"false"},
		"autoload_known_extensions":    {"false"},
		"allow_community_extensions":   {"false"},
	}
	connector, err := duckdb.NewConnector("?"+options.Encode(), nil)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	var files []string
	for _, v := range order.Views {
		files = append(files, v.Files...)
	}
	statements := []string{"SET allowed_paths = [" + quoteAll(files) + "]", "SET max_expression_depth = 250", "SET TimeZone = 'UTC'"}
	for _, v := range order.Views {
		statements = append(statements, v.Text)
	}
	for _, text := range append(statements, "SET enable_external_access = false", "SET lock_configuration = true") {
		if _, err := db.ExecContext(ctx, text); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", text, err), db.Close())
		}
	}
	return db, nil
}

// onlyReads refuses all but one statement that selects. DuckDB itself reads the text: only what it calls a SELECT can be serialized.
func onlyReads(ctx context.Context, db *sql.DB, text string) error {
	var tree string
	if err := db.QueryRowContext(ctx, "SELECT json_serialize_sql(?::VARCHAR, skip_default := true, skip_empty := true, skip_null := true)::VARCHAR", text).Scan(&tree); err != nil {
		return err
	}
	var read struct {
		Error      bool              `json:"error"`
		Kind       string            `json:"error_type"`
		Message    string            `json:"error_message"`
		Position   string            `json:"position"`
		Statements []json.RawMessage `json:"statements"`
	}
	if err := json.Unmarshal([]byte(tree), &read); err != nil {
		return err
	}
	switch {
	case read.Error && read.Kind == "parser":
		return &QueryError{read.Message + placeOf(text, read.Position)}
	case read.Error:
		return &QueryError{"only SELECT is taken here: nothing can be changed, loaded or written (WITH, VALUES, FROM, DESCRIBE and SUMMARIZE are fine, too)"}
	case len(read.Statements) != 1:
		return &QueryError{fmt.Sprintf("one statement at a time, please: these are %d", len(read.Statements))}
	}
	return nil
}

// placeOf says where in a query a byte lies.
func placeOf(text, position string) string {
	at, err := strconv.Atoi(position)
	if err != nil || at < 0 || at > len(text) {
		return ""
	}
	before := text[:at]
	line := strings.Count(before, "\n") + 1
	column := len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return fmt.Sprintf(" (line %d, column %d)", line, column)
}

func answerSQL(ctx context.Context, db *sql.DB, text string) (SQLAnswer, error) {
	if err := onlyReads(ctx, db, text); err != nil {
		return SQLAnswer{}, err
	}
	rows, err := db.QueryContext(ctx, text)
	if err != nil {
		return SQLAnswer{}, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return SQLAnswer{}, err
	}
	a := SQLAnswer{Rows: [][]json.RawMessage{}}
	for _, t := range types {
		a.Columns = append(a.Columns, SQLColumn{Name: t.Name(), Type: t.DatabaseTypeName()})
	}
	values, into := make([]any, len(types)), make([]any, len(types))
	for i := range values {
		into[i] = &values[i]
	}
	for size := 0; rows.Next(); {
		if len(a.Rows) == sqlRows {
			a.Truncated = true
			return a, nil
		}
		if err := rows.Scan(into...); err != nil {
			return a, err
		}
		row := make([]json.RawMessage, len(values))
		for i, v := range values {
			if row[i], err = json.Marshal(sqlValue(v)); err != nil {
				return a, fmt.Errorf("column %s holds %T, which cannot be shown; cast it to VARCHAR", types[i].Name(), v)
			}
			size += len(row[i]) + 1
		}
		if size > sqlBytes {
			a.Truncated = true
			return a, nil
		}
		a.Rows = append(a.Rows, row)
	}
	return a, rows.Err()
}

// exactly is the largest whole number that every reader of JSON keeps as it is.
const exactly = 1 << 53

// sqlValue is a value as JSON can say it.
func sqlValue(v any) any {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	case float32:
		return sqlValue(float64(v))
	case int64:
		if v > exactly || v < -exactly {
			return strconv.FormatInt(v, 10)
		}
	case uint64:
		if v > exactly {
			return strconv.FormatUint(v, 10)
		}
	case *big.Int:
		if v.IsInt64() {
			return sqlValue(v.Int64())
		}
		return v.String()
	case duckdb.Decimal:
		return v.String()
	case []byte:
		return base64.StdEncoding.EncodeToString(v)
	case time.Time:
		return v.UTC().Format(time.RFC3339Nano)
	case duckdb.Interval:
		return fmt.Sprintf("%d months %d days %s", v.Months, v.Days, time.Duration(v.Micros)*time.Microsecond)
	case duckdb.Map:
		out := map[string]any{}
		for k, x := range v {
			out[fmt.Sprint(k)] = sqlValue(x)
		}
		return out
	case map[string]any:
		for k, x := range v {
			v[k] = sqlValue(x)
		}
	case []any:
		for i, x := range v {
			v[i] = sqlValue(x)
		}
	case driver.Valuer:
		if x, err := v.Value(); err == nil {
			return fmt.Sprint(x)
		}
	}
	return v
}

// sqlWords are DuckDB's words for what is wrong, without names of files.
func sqlWords(err error) string {
	var wrong *QueryError
	if errors.As(err, &wrong) {
		return wrong.Message
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "Out of Memory"):
		return fmt.Sprintf("the query takes more than %d MiB of memory; ask for less at once, or aggregate before you join", sqlMemory>>20)
	case strings.Contains(text, "Permission Error"):
		return "the console reads the tables that it lists, and no files: " + text
	}
	return text
}
