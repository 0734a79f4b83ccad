package store

import (
	"context"
	"database/sql"
)

// repeated is a transaction that runs the same few statements many times: SQLite reads each of them once.
type repeated struct {
	tx       *sql.Tx
	prepared map[string]*sql.Stmt // closed with the transaction
}

func repeating(tx *sql.Tx) *repeated { return &repeated{tx: tx, prepared: map[string]*sql.Stmt{}} }

func (r *repeated) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := r.prepared[query]; s != nil {
		return s, nil
	}
	s, err := r.tx.PrepareContext(ctx, query)
	if err == nil {
		r.prepared[query] = s
	}
	return s, err
}

func (r *repeated) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := r.prepare(ctx, query) //nolint:sqlclosecheck // with the transaction
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (r *repeated) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := r.prepare(ctx, query) //nolint:sqlclosecheck // with the transaction
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (r *repeated) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := r.prepare(ctx, query) //nolint:sqlclosecheck // with the transaction
	if err != nil {
		return r.tx.QueryRowContext(ctx, query, args...) // which fails alike
	}
	return s.QueryRowContext(ctx, args...)
}
