package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
)

// SQL answers queries over everything that is stored and no secret; store.SQLConsole does.
type SQL interface {
	Tables() []store.SQLTable
	Limits() store.SQLLimits
	Run(ctx context.Context, q store.SQLQuery) (store.SQLAnswer, error)
}

type sqlTablesBody struct {
	Tables []store.SQLTable `json:"tables" nullable:"false"`
	Limits store.SQLLimits  `json:"limits"`
}

type sqlAnswerBody struct {
	Columns     []store.SQLColumn   `json:"columns" nullable:"false"`
	Rows        [][]json.RawMessage `json:"rows" nullable:"false" doc:"Whole numbers that JSON's readers would round are texts."`
	Truncated   bool                `json:"truncated" doc:"There were more rows than one answer holds."`
	Tables      map[string]int64    `json:"tables" doc:"Those that the query names, with the rows that were there for it."`
	TookSeconds float64             `json:"took_seconds"`
}

func (s *Server) sqlRoutes() {
	tags := []string{"sql"}
	handle(s, huma.Operation{OperationID: "list-sql-tables", Method: http.MethodGet, Path: "/api/v1/admin/sql", Tags: tags,
		Summary: "The tables that a query in SQL may read, and what it may take"},
		func(context.Context, *struct{}) (*body[sqlTablesBody], error) {
			return answer(sqlTablesBody{s.cfg.SQL.Tables(), s.cfg.SQL.Limits()}), nil
		})
	handle(s, huma.Operation{OperationID: "run-sql", Method: http.MethodPost, Path: "/api/v1/admin/sql", Tags: tags,
		Summary: "Answer one query in SQL (DuckDB's), which can read and nothing else"}, s.runSQL)
}

func (s *Server) runSQL(ctx context.Context, in *struct {
	Body struct {
		SQL  string    `json:"sql" minLength:"1" maxLength:"10000"`
		From time.Time `json:"from,omitempty" doc:"Samples, sums and flows of before are not there; default an hour before to."`
		To   time.Time `json:"to,omitempty" doc:"Nor are those from then on; default now."`
	}
}) (*body[sqlAnswerBody], error) {
	a, err := s.cfg.SQL.Run(ctx, store.SQLQuery{SQL: in.Body.SQL, From: in.Body.From, To: in.Body.To})
	s.auditSQL(ctx, in.Body.SQL, len(a.Rows), err)
	if err != nil {
		return nil, err
	}
	return answer(sqlAnswerBody{Columns: a.Columns, Rows: a.Rows, Truncated: a.Truncated, Tables: a.Tables, TookSeconds: a.Took.Seconds()}), nil
}

// auditPart is how many characters of a query one line of the audit log holds, with what stands before them.
const auditPart = 230

// auditSQL writes down all of a query, on as many lines as it takes.
func (s *Server) auditSQL(ctx context.Context, text string, rows int, err error) {
	by := caller(ctx)
	e := audit.Entry{Tenant: by.Tenant, Actor: by.Actor(), Action: "sql.query", Object: "sql", Address: peer(ctx)}
	result := fmt.Sprintf("%d rows", rows)
	if err != nil {
		e.Outcome, result = audit.Failed, "no answer"
		if describe(err) != nil {
			e.Outcome = audit.Refused
		}
	}
	parts := slices.Collect(slices.Chunk([]rune(text), auditPart))
	for i, part := range parts {
		e.Detail = fmt.Sprintf("%s, part %d of %d: %s", result, i+1, len(parts), string(part))
		s.audit(ctx, e)
	}
}
