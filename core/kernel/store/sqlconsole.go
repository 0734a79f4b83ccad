package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"
)

// What one query of the console may take.
const (
	sqlSeconds   = 30
	sqlMemory    = 256 << 20 // of DuckDB, in the process of the query
	sqlThreads   = 2
	sqlRows      = 10_000
	sqlBytes     = 8 << 20
	sqlTableRows = 5_000_000 // of a table of telemetry
	sqlListRows  = 200_000   // of a table of the control state
	sqlText      = 10_000    // characters of a query
	sqlSpan      = 31 * 24 * time.Hour
)

// SQLQuery is a query over what is of a time.
type SQLQuery struct {
	SQL      string
	From, To time.Time // of samples, sums and flows; the other tables are whole
}

// SQLAnswer is what a query gave.
type SQLAnswer struct {
	Columns []SQLColumn         `json:"columns"`
	Rows    [][]json.RawMessage `json:"rows"`
	// Truncated says that there were more rows than one answer holds.
	Truncated bool `json:"truncated"`
	// Tables are those that were made ready, each with its rows.
	Tables map[string]int64 `json:"tables"`
	Took   time.Duration    `json:"-"`
}

// SQLColumn is a column of an answer or of a table.
type SQLColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Doc  string `json:"doc,omitempty"`
}

// SQLTable is one that queries may read.
type SQLTable struct {
	Name    string      `json:"name"`
	Doc     string      `json:"doc"`
	Timed   bool        `json:"timed" doc:"Only what is of the time that the query is over."`
	Columns []SQLColumn `json:"columns" nullable:"false"`
}

// SQLConsole answers queries in SQL over everything that is stored and no secret. A query sees copies of the tables that it names
// and runs in a process of its own, which reaches no other file, writes none, and is killed when it takes too long.
type SQLConsole struct {
	Control   *Control
	Telemetry *Telemetry
	Flows     *Flows
	Dir       string   // where copies lie while a query runs, on the file system of the stores
	Worker    []string // the program that calls SQLWorker
	Now       func() time.Time

	one sync.Mutex // held while a query runs
}

// ErrSQLBusy says that another query runs.
var ErrSQLBusy = errors.New("another query is running; wait until it has ended, 30 seconds at most")

// Run answers a query. *QueryError says what is wrong with it.
func (s *SQLConsole) Run(ctx context.Context, q SQLQuery) (SQLAnswer, error) {
	if err := s.check(&q); err != nil {
		return SQLAnswer{}, err
	}
	if !s.one.TryLock() {
		return SQLAnswer{}, ErrSQLBusy
	}
	defer s.one.Unlock()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, sqlSeconds*time.Second)
	defer cancel()
	dir, err := s.room()
	if err != nil {
		return SQLAnswer{}, err
	}
	defer os.RemoveAll(dir)
	order := sqlOrder{SQL: q.SQL}
	counts := map[string]int64{}
	for _, t := range sqlTables {
		view, rows, err := s.ready(ctx, dir, t, q)
		switch {
		case ctx.Err() != nil:
			return SQLAnswer{}, s.late(ctx)
		case err != nil:
			return SQLAnswer{}, fmt.Errorf("make %s ready: %w", t.Name, err)
		case view.Text == "":
			continue
		}
		order.Views = append(order.Views, view)
		if rows >= 0 {
			counts[t.Name] = rows
		}
	}
	answer, err := s.ask(ctx, order)
	answer.Tables, answer.Took = counts, time.Since(began)
	return answer, err
}

func (s *SQLConsole) check(q *SQLQuery) error {
	if q.To.IsZero() {
		q.To = s.Now()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	switch {
	case strings.TrimSpace(q.SQL) == "":
		return &QueryError{"the query is empty"}
	case len(q.SQL) > sqlText:
		return &QueryError{fmt.Sprintf("the query has more than %d characters", sqlText)}
	case !q.From.Before(q.To):
		return &QueryError{"from must lie before to"}
	case q.To.Sub(q.From) > sqlSpan && mentions(q.SQL, "samples", "flows"):
		return &QueryError{"samples and flows are read of 31 days at most; for more there are samples_5m, samples_1h and samples_1d"}
	case q.From.Before(time.Unix(0, 0)):
		return &QueryError{"from must not lie before 1970"}
	}
	return nil
}

// room makes an empty folder for one query; what a crash left of an earlier one goes.
func (s *SQLConsole) room() (string, error) {
	if err := os.RemoveAll(s.Dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return "", err
	}
	return filepath.Abs(s.Dir)
}

func (s *SQLConsole) late(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &QueryError{fmt.Sprintf("the query took more than %d seconds and was stopped; ask for less time or fewer rows", sqlSeconds)}
	}
	return ctx.Err()
}

// ask has the worker answer.
func (s *SQLConsole) ask(ctx context.Context, order sqlOrder) (SQLAnswer, error) {
	text, err := json.Marshal(order)
	if err != nil {
		return SQLAnswer{}, err
	}
	cmd := exec.Command(s.Worker[0], s.Worker[1:]...)
	cmd.Env = append(cmd.Env, "GOMAXPROCS=2", "GOMEMLIMIT=128MiB")
	cmd.Dir = s.Dir
	cmd.Stdin = bytes.NewReader(text)
	var out, errs bounded
	out.most, errs.most = 2*sqlBytes, 4<<10
	cmd.Stdout, cmd.Stderr = &out, &errs
	alone(cmd)
	ended := make(chan error, 1)
	go func() {
		// The kernel kills the worker when the thread that started it ends, so this one must not end before.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			ended <- err
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
		defer stop()
		ended <- cmd.Wait()
	}()
	err = <-ended
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return SQLAnswer{}, s.late(ctx)
	case errors.As(err, &exit) && exit.ExitCode() != 1: // a signal, or the runtime's own end for want of memory
		return SQLAnswer{}, &QueryError{"the query was stopped because it took more memory or time than it may; ask for less at once"}
	case err != nil:
		return SQLAnswer{}, fmt.Errorf("SQL worker: %w: %s", err, strings.TrimSpace(errs.String()))
	}
	var answer struct {
		SQLAnswer
		Error string `json:"error"`
	}
	if err := json.Unmarshal(out.Bytes(), &answer); err != nil {
		return SQLAnswer{}, fmt.Errorf("answer of the SQL worker: %w", err)
	}
	if answer.Error != "" {
		return SQLAnswer{}, &QueryError{answer.Error}
	}
	return answer.SQLAnswer, nil
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	bytes.Buffer
	most int
}

func (b *bounded) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), max(0, b.most-b.Len()))])
	return len(p), nil
}

// Tables are those that queries may read.
func (s *SQLConsole) Tables() []SQLTable {
	list := make([]SQLTable, len(sqlTables))
	for i, t := range sqlTables {
		list[i] = t.SQLTable
	}
	return list
}

// SQLLimits are what one query may take.
type SQLLimits struct {
	Seconds     int   `json:"seconds"`
	MemoryBytes int64 `json:"memory_bytes"`
	Rows        int   `json:"rows" doc:"Of an answer."`
	Bytes       int   `json:"bytes" doc:"Of an answer."`
	TableRows   int   `json:"table_rows" doc:"Of samples, sums and flows; more are refused."`
	ListRows    int   `json:"list_rows" doc:"Of the other tables; of more, the newest are there."`
	Days        int   `json:"days" doc:"That samples and flows are read of."`
}

// Limits are those of every query.
func (s *SQLConsole) Limits() SQLLimits {
	return SQLLimits{sqlSeconds, sqlMemory, sqlRows, sqlBytes, sqlTableRows, sqlListRows, int(sqlSpan / (24 * time.Hour))}
}
