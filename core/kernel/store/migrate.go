package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"sort"
)

//go:embed migrations/*.sql
var migrationFiles embed.FS

// migrations returns the steps in order. Step n brings a file from version n to n+1. A step that has been released is
// never changed; a new one is added.
func migrations() ([]string, error) {
	names, err := fs.Glob(migrationFiles, "migrations/*.sql")
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	steps := make([]string, 0, len(names))
	for _, name := range names {
		text, err := migrationFiles.ReadFile(name)
		if err != nil {
			return nil, err
		}
		steps = append(steps, string(text))
	}
	return steps, nil
}

// migrate brings the file to the newest version, each step in a transaction of its own, so that a crash in between
// leaves a file of a known version.
func migrate(ctx context.Context, db *sql.DB, steps []string) error {
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return fmt.Errorf("read version: %w", err)
	}
	if version > len(steps) {
		return fmt.Errorf("it has version %d, this program knows up to %d; it was written by a newer picketd", version, len(steps))
	}
	for ; version < len(steps); version++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
		// PRAGMA takes no parameters; version is our own number.
		if _, err = tx.ExecContext(ctx, steps[version]+fmt.Sprintf("\nPRAGMA user_version = %d;", version+1)); err == nil {
			err = tx.Commit()
		}
		if err != nil {
			_ = tx.Rollback()
			return fmt.Errorf("migrate to version %d: %w", version+1, err)
		}
	}
	return nil
}
