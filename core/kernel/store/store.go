// Package store remembers: telemetry (samples of series) in DuckDB and control state (people, agents, orders, alerts,
// devices, audit) in SQLite. It is the only package that knows SQL. Plain structs go in, plain structs come out; a
// method returns only after what it did is on disk.
//
//   - Telemetry (OpenTelemetry): daily DuckDB files, one writer goroutine with group commit, exactly once per
//     (agent, epoch, sequence).
//   - Control (OpenControl): one SQLite file in WAL mode with full synchronisation, forward migrations, secrets
//     encrypted under a key that lies outside the data folder.
//
// Every stored row belongs to a tenant. Times are stored as microseconds since 1970 UTC; the zero time is stored as 0.
package store

import (
	"errors"
	"fmt"
	"time"
)

// DefaultTenant is the tenant of a server that knows only one.
const DefaultTenant = "default"

// What a caller decides by. Other errors mean that the store itself failed.
var (
	ErrNotFound      = errors.New("not found")
	ErrConflict      = errors.New("already exists")
	ErrExpired       = errors.New("expired")
	ErrRevoked       = errors.New("revoked")
	ErrTooManyTokens = errors.New("there are as many enrolment tokens that can still be used as there may be; revoke some first")
	ErrUsed          = errors.New("already used")
	ErrState         = errors.New("not possible in this state")
	ErrClosed        = errors.New("store is closed")
	ErrFull          = errors.New("the disk is full; free some space")
)

// BusyError says that the queue in front of the writer is full. Nothing of the batch was stored.
type BusyError struct{ RetryAfter time.Duration }

func (e *BusyError) Error() string {
	return fmt.Sprintf("telemetry writer is busy, try again in %s", e.RetryAfter)
}

// QueryError says what is wrong with a query.
type QueryError struct{ Message string }

func (e *QueryError) Error() string { return e.Message }

// Page asks for one page of a list. An empty cursor means the first page; a limit of 0 means 50, the most is 500.
type Page struct {
	Cursor string
	Limit  int
}

func (p Page) limit() int {
	switch {
	case p.Limit <= 0:
		return 50
	case p.Limit > 500:
		return 500
	}
	return p.Limit
}
