package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/mattn/go-sqlite3"
)

// ControlConfig says where control state lives.
type ControlConfig struct {
	Path    string // SQLite file, for example DIR/control.db
	KeyFile string // 32 random bytes in hex; made when absent; must lie outside the data folder
	Now     func() time.Time
}

// Control is the control state. It is safe for concurrent use: one connection writes, several read.
type Control struct {
	path   string
	writer *sql.DB // one connection, so writers queue here and not as "database is locked"
	reader *sql.DB
	sealer *sealer
	now    func() time.Time

	contacts contacts
	lineages lineages
	index    agentIndex
	notes    metricNotes
	tenants  tenants

	mu     sync.Mutex // guards config
	config chan struct{}
}

const readers = 8

// OpenControl opens the control state, creating or migrating the file as needed.
func OpenControl(ctx context.Context, cfg ControlConfig) (*Control, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	dir := filepath.Dir(cfg.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be made: %w; choose another with --data", dir, err)
	}
	if err := writable(dir); err != nil {
		return nil, err
	}
	s, err := openSealer(cfg.KeyFile, dir)
	if err != nil {
		return nil, err
	}
	c := &Control{path: cfg.Path, sealer: s, now: cfg.Now, config: make(chan struct{})}
	if err := c.open(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open control state %s: %w", cfg.Path, explain(err)), c.Close())
	}
	return c, nil
}

func (c *Control) open(ctx context.Context) (err error) {
	c.writer = sql.OpenDB(watched{dsn(c.path, "_txlock", "immediate"), &c.contacts})
	c.writer.SetMaxOpenConns(1)
	steps, err := migrations()
	if err != nil {
		return err
	}
	if err := migrate(ctx, c.writer, steps); err != nil {
		return err
	}
	if err := os.Chmod(c.path, 0o600); err != nil {
		return err
	}
	if c.reader, err = sql.Open("sqlite3", dsn(c.path, "_query_only", "true")); err != nil {
		return err
	}
	c.reader.SetMaxOpenConns(readers)
	c.reader.SetMaxIdleConns(readers)
	if err := c.checkKey(ctx); err != nil {
		return err
	}
	if err := errors.Join(c.loadTenants(ctx), c.loadContacts(ctx)); err != nil {
		return err
	}
	if err := c.lineages.load(ctx, c.reader); err != nil {
		return err
	}
	return c.chainOldAudit(ctx)
}

// checkKey notices a key file that is not the one the secrets were sealed with. As long as nothing is sealed any key
// will do.
func (c *Control) checkKey(ctx context.Context) error {
	var known string
	err := c.reader.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'secret_key'").Scan(&known)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if known == c.sealer.id {
		return nil
	}
	var sealed int
	if err := c.reader.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM assignments WHERE secrets IS NOT NULL) +
		(SELECT count(*) FROM installs WHERE undo IS NOT NULL) + (SELECT count(*) FROM factors WHERE secret IS NOT NULL)`).Scan(&sealed); err != nil {
		return err
	}
	if sealed > 0 {
		return fmt.Errorf("its %d secrets were sealed with another key (%s) than the key file holds (%s); restore that key file",
			sealed, known, c.sealer.id)
	}
	_, err = c.writer.ExecContext(ctx, "INSERT INTO meta VALUES ('secret_key', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", c.sealer.id)
	if err != nil {
		return err
	}
	return c.resealAuditHeads(ctx)
}

func dsn(path string, more ...string) string {
	q := url.Values{"_journal_mode": {"WAL"}, "_synchronous": {"FULL"}, "_busy_timeout": {"10000"}, "_foreign_keys": {"on"}}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return (&url.URL{Scheme: "file", Opaque: url.PathEscape(path), RawQuery: q.Encode()}).String()
}

// writable finds out with a file what permission bits cannot tell (read-only mounts, full disks).
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return fmt.Errorf("data folder %s is not writable: %w; change its owner or choose another with --data", dir, err)
	}
	defer os.Remove(f.Name())
	if _, err = f.Write([]byte("probe")); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("data folder %s is not writable: %w; free some space or choose another with --data", dir, err)
	}
	return nil
}

// Close closes the file. It is safe to call twice.
func (c *Control) Close() error {
	var err error
	if c.contacts.byID != nil {
		err = c.FlushContacts(context.Background())
		c.contacts.byID = nil
	}
	for _, db := range []*sql.DB{c.reader, c.writer} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return err
}

// Ping says whether the file can be read.
func (c *Control) Ping(ctx context.Context) error {
	var one int
	return explain(c.reader.QueryRowContext(ctx, "SELECT 1 FROM sqlite_master LIMIT 1").Scan(&one))
}

// write runs fn in a transaction that takes the write lock at once.
func (c *Control) write(ctx context.Context, fn func(tx *sql.Tx) error) error {
	defer c.afterWrite()
	tx, err := c.writer.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	if err = fn(tx); err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback()
	}
	return explain(err)
}

// exec runs one statement in a transaction of its own and returns how many rows it changed.
func (c *Control) exec(ctx context.Context, query string, args ...any) (int, error) {
	defer c.afterWrite()
	res, err := c.writer.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, explain(err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// execOne is exec for a statement that must change exactly one row.
func (c *Control) execOne(ctx context.Context, query string, args ...any) error {
	n, err := c.exec(ctx, query, args...)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	return err
}

// explain turns what SQLite says into errors that a caller can decide by or an operator can act on.
func explain(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	var e sqlite3.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.ExtendedCode == sqlite3.ErrConstraintUnique, e.ExtendedCode == sqlite3.ErrConstraintPrimaryKey:
		return fmt.Errorf("%w: %s", ErrConflict, e.Error())
	case e.ExtendedCode == sqlite3.ErrConstraintForeignKey:
		return fmt.Errorf("%w: what this belongs to is gone", ErrNotFound)
	case e.Code == sqlite3.ErrFull:
		return fmt.Errorf("%w: %w", ErrFull, err)
	case e.Code == sqlite3.ErrReadonly, e.Code == sqlite3.ErrCantOpen, e.Code == sqlite3.ErrPerm:
		return fmt.Errorf("the file cannot be written; check its owner and permissions: %w", err)
	case e.Code == sqlite3.ErrNotADB, e.Code == sqlite3.ErrCorrupt:
		return fmt.Errorf("the file is damaged or no SQLite file; restore it from a backup: %w", err)
	}
	return err
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// stamp reads a time column into t.
func stamp(t *time.Time) sql.Scanner { return timeColumn{t} }

type timeColumn struct{ t *time.Time }

func (c timeColumn) Scan(v any) error {
	us, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time column holds %T", v)
	}
	*c.t = fromMicros(us)
	return nil
}

// fromJSON reads a JSON column into v; NULL leaves v alone.
func fromJSON(v any) sql.Scanner { return jsonColumn{v} }

type jsonColumn struct{ v any }

func (c jsonColumn) Scan(v any) error {
	switch text := v.(type) {
	case nil:
		return nil
	case string:
		if to, ok := c.v.(*[]string); ok {
			if list, plain := plainList(text); plain {
				*to = list
				return nil
			}
		}
		return json.Unmarshal([]byte(text), c.v)
	case []byte:
		return json.Unmarshal(text, c.v)
	}
	return fmt.Errorf("JSON column holds %T", v)
}

// plainList reads a list of texts in which nothing is escaped, as toJSON writes nearly all; false for anything else. A device has
// four, and a capture may tell of thousands of devices.
func plainList(text string) (list []string, plain bool) {
	if text == "[]" {
		return []string{}, true
	}
	inner, open := strings.CutPrefix(text, `["`)
	inner, closed := strings.CutSuffix(inner, `"]`)
	if !open || !closed || strings.ContainsRune(inner, '\\') || !utf8.ValidString(inner) {
		return nil, false
	}
	list = strings.Split(inner, `","`)
	return list, strings.Count(inner, `"`) == 2*(len(list)-1)
}

// toJSON is for our own row types, which always marshal.
func toJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("store: marshal %T: %v", v, err))
	}
	return string(raw)
}

// rawJSON is JSON that came from outside; nothing becomes empty.
func rawJSON(raw json.RawMessage, empty string) string {
	if len(raw) == 0 {
		return empty
	}
	return string(raw)
}

// row is what QueryRow and Rows have in common.
type row interface{ Scan(dest ...any) error }

// lister reads rows.
type lister interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// querier is what DB and Tx have in common.
type querier interface {
	lister
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// collect reads all rows with scan.
func collect[T any](ctx context.Context, q lister, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, explain(err)
	}
	defer rows.Close()
	list := []T{}
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, explain(rows.Err())
}

// cut ends a page that was read with one row too many, and returns the cursor of the next.
func cut[T any](list []T, p Page, id func(T) string) ([]T, string) {
	if len(list) <= p.limit() {
		return list, ""
	}
	list = list[:p.limit()]
	return list, id(list[len(list)-1])
}

func newID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make id: %w", err)
	}
	return id.String(), nil
}
