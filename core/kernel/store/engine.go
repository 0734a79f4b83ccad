package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/duckdb/duckdb-go/v2"
)

// engine is one DuckDB instance. It lives in memory and has the segment files attached: opened that way a file replays
// its log after a crash, which it may refuse to do when it is opened itself. There is one per process and directory,
// because a second one on the same files would wait for the first for ever.
type engine struct {
	db     *sql.DB
	writer *sql.Conn // used by the writer goroutine only

	step func(point string) // told of each point at which a crash is tried; nil outside tests

	makings  atomic.Uint64 // how many files were begun
	threads  int           // that it was given
	rowGroup int           // rows of a group in the files that it attaches; 0: as many as DuckDB prefers
}

func openEngine(ctx context.Context, cfg TelemetryConfig) (*engine, error) {
	options := url.Values{
		"memory_limit":                 {strconv.FormatInt(cfg.MemoryLimit>>20, 10) + "MiB"},
		"threads":                      {strconv.Itoa(cfg.Threads)},
		"temp_directory":               {filepath.Join(cfg.Dir, "tmp")},
		"max_temp_directory_size":      {"2GiB"},
		"checkpoint_threshold":         {"16MiB"},
		"autoinstall_known_extensions": {"false"}, // a mistyped function must not cost a try to reach the network
		"autoload_known_extensions":    {"false"},
		"allow_community_extensions":   {"false"},
		"scheduler_process_partial":    {"true"}, // a long query gives its thread up in between: a change of their number waits for that
	}
	connector, err := duckdb.NewConnector("?"+options.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("start DuckDB: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(readers + 1)
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start DuckDB: %w", err), db.Close())
	}
	return &engine{db: db, writer: conn, threads: cfg.Threads}, nil
}

func (e *engine) close() error {
	return errors.Join(e.writer.Close(), e.db.Close())
}

// attach makes a file known as alias. DuckDB locks it, so that no second process can.
func (e *engine) attach(ctx context.Context, path, alias string) error {
	options := ""
	if e.rowGroup > 0 {
		options = fmt.Sprintf(" (ROW_GROUP_SIZE %d)", e.rowGroup)
	}
	_, err := e.db.ExecContext(ctx, "ATTACH "+quote(path)+" AS "+alias+options)
	return explainDuck(path, err)
}

func (e *engine) detach(ctx context.Context, alias string) error {
	_, err := e.db.ExecContext(ctx, "DETACH "+alias)
	return err
}

// create makes a file with the given tables under a temporary name and moves it into place when it is complete, so that
// a crash leaves no half file.
func (e *engine) create(ctx context.Context, path, ddl string) error {
	tmp, err := e.build(ctx, path, ddl)
	if err != nil {
		return err
	}
	e.at("create: before the name")
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	e.at("create: before the folder")
	return syncDir(filepath.Dir(path))
}

// build makes a complete file under a temporary name beside path and returns that name. In the statements, "$." stands
// for the new file.
func (e *engine) build(ctx context.Context, path string, statements ...string) (tmp string, err error) {
	m, err := e.begin(ctx, path+".tmp", "")
	if err != nil {
		return "", err
	}
	for _, text := range statements {
		if err := m.exec(ctx, text); err != nil {
			return "", errors.Join(explainDuck(path, err), m.abandon(ctx))
		}
	}
	if err := m.finish(ctx); err != nil {
		return "", errors.Join(explainDuck(path, err), m.abandon(ctx))
	}
	return m.path, nil
}

// making is a file that is being made, under a name of its own.
type making struct {
	engine *engine
	path   string
	alias  string
}

// begin makes a new empty file. Options are those of ATTACH.
func (e *engine) begin(ctx context.Context, path, options string) (*making, error) {
	if err := removeFiles(path, path+".wal"); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	m := &making{e, path, fmt.Sprintf("making%d", e.makings.Add(1))}
	if options == "" && e.rowGroup > 0 {
		options = fmt.Sprintf(" (ROW_GROUP_SIZE %d)", e.rowGroup)
	}
	_, err := e.db.ExecContext(ctx, "ATTACH "+quote(path)+" AS "+m.alias+options)
	return m, explainDuck(path, err)
}

// exec runs a statement in which "$." stands for the new file.
func (m *making) exec(ctx context.Context, text string) error {
	_, err := m.engine.db.ExecContext(ctx, strings.ReplaceAll(text, "$.", m.alias+".main."))
	return err
}

// finish writes the file out. The checkpoint is there because a log that holds a change of schema is the one thing that
// DuckDB has been seen not to replay.
func (m *making) finish(ctx context.Context) error {
	m.engine.at("build: before the checkpoint")
	if err := m.exec(ctx, "CHECKPOINT "+m.alias); err != nil {
		return err
	}
	if err := m.engine.detach(ctx, m.alias); err != nil {
		return err
	}
	m.engine.at("build: complete")
	return os.Chmod(m.path, 0o600)
}

// abandon removes a file that was not finished.
func (m *making) abandon(ctx context.Context) error {
	_ = m.engine.detach(context.WithoutCancel(ctx), m.alias) // it may be detached already
	return removeFiles(m.path, m.path+".wal")
}

// at is a point at which tests let the program die.
func (e *engine) at(point string) {
	if e.step != nil {
		e.step(point)
	}
}

func removeFiles(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// invalidated reports whether DuckDB has given up an attached file until it is attached again. It does so when a
// checkpoint fails, mostly for want of space.
func invalidated(err error) bool {
	return err != nil && strings.Contains(err.Error(), "has been invalidated")
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// explainDuck turns what DuckDB says into words that an operator can act on.
func explainDuck(path string, err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "No space left") || errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%s: %w: %w", path, ErrFull, err)
	case strings.Contains(text, "Could not set lock"):
		return fmt.Errorf("%s: another process has it open; is a second server using this data folder? %w", path, err)
	case strings.Contains(text, "Permission denied") || strings.Contains(text, "Read-only file system"):
		return fmt.Errorf("%s: cannot be written; check its owner and permissions: %w", path, err)
	case strings.Contains(text, "not a valid DuckDB database"):
		return fmt.Errorf("%s: damaged or no DuckDB file; restore it from a backup or move it away: %w", path, err)
	}
	return fmt.Errorf("%s: %w", path, err)
}
