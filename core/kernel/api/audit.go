package api

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/store"
)

type auditBody struct {
	ID      string    `json:"id"`
	Seq     int64     `json:"seq" doc:"Its place in the chain."`
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Object  string    `json:"object"`
	Outcome string    `json:"outcome" enum:"ok,refused,failed"`
	Detail  string    `json:"detail"`
	Address string    `json:"address"`
	Hash    string    `json:"hash" doc:"SHA-256 of this line and the hash of the one before it; docs/audit.md says of what exactly."`
}

func auditOf(e store.AuditEntry) auditBody {
	return auditBody{ID: e.ID, Seq: e.Seq, Time: e.Time.UTC(), Actor: e.Actor, Action: e.Action, Object: e.Object,
		Outcome: e.Outcome, Detail: e.Detail, Address: e.Address, Hash: hex.EncodeToString(e.Hash)}
}

// AuditQuery narrows the audit log. Exported because inputs embed it.
type AuditQuery struct {
	Actor   string    `query:"actor" maxLength:"200" doc:"A part of who did it."`
	Action  string    `query:"action" maxLength:"200" doc:"A part of what was done."`
	Object  string    `query:"object" maxLength:"200" doc:"A part of what it was done to."`
	Outcome string    `query:"outcome" enum:"ok,refused,failed"`
	Text    string    `query:"q" maxLength:"200" doc:"A part of any of these, of the detail or of the address."`
	From    time.Time `query:"from" doc:"Not before."`
	To      time.Time `query:"to" doc:"Before."`
}

func (q AuditQuery) filter() store.AuditFilter {
	return store.AuditFilter{Actor: q.Actor, Action: q.Action, Object: q.Object, Outcome: q.Outcome, Text: q.Text, From: q.From, To: q.To}
}

type auditReportBody struct {
	Whole   bool   `json:"whole" doc:"Every line is as it was written, and none is missing."`
	Lines   int64  `json:"lines" doc:"How many lines were found to be."`
	Head    string `json:"head" doc:"The chain's end, as number:hash. Noted elsewhere it shows later that the whole file is not an older one."`
	Broken  int64  `json:"broken,omitempty" doc:"The first line that is not."`
	Problem string `json:"problem,omitempty" doc:"What is wrong with it."`
}

func (s *Server) auditRoutes() {
	tags := []string{"audit"}
	handle(s, huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/api/v1/audit", Tags: tags,
		Summary: "Who did what, newest first"},
		func(ctx context.Context, in *struct {
			PageQuery
			AuditQuery
		}) (*body[page[auditBody]], error) {
			l, next, err := s.cfg.Control.ListAudit(ctx, caller(ctx).Tenant, in.filter(), in.page())
			return answerPage(convert(l, auditOf), next), err
		})
	handle(s, huma.Operation{OperationID: "verify-audit", Method: http.MethodGet, Path: "/api/v1/audit/verify", Tags: tags,
		Summary: "Whether the audit log is whole"},
		func(ctx context.Context, in *struct {
			Since string `query:"since" maxLength:"100" doc:"An end that was noted earlier, as number:hash."`
		}) (*body[auditReportBody], error) {
			known, err := audit.ParseHead(in.Since)
			if err != nil {
				return nil, invalidField("query.since", err.Error())
			}
			r, err := s.cfg.Control.VerifyAudit(ctx, caller(ctx).Tenant, known)
			return answer(auditReportBody{Whole: r.Broken == 0, Lines: r.Head.Seq, Head: audit.FormatHead(r.Head), Broken: r.Broken, Problem: r.Problem}), err
		})
	handle(s, huma.Operation{OperationID: "export-audit", Method: http.MethodGet, Path: "/api/v1/audit/export", Tags: tags,
		Summary: "The audit log as a file, oldest first",
		Responses: map[string]*huma.Response{"200": {Description: "The file.", Content: map[string]*huma.MediaType{
			"text/csv": {Schema: &huma.Schema{Type: huma.TypeString}}, "application/x-ndjson": {Schema: &huma.Schema{Type: huma.TypeString}}}}}},
		s.exportAudit)
}

const exportedAtOnce = 1000

func (s *Server) exportAudit(ctx context.Context, in *struct {
	AuditQuery
	Format string `query:"format" enum:"json,csv" default:"json" doc:"json is a line for each (NDJSON)."`
}) (*huma.StreamResponse, error) {
	tenant, f := caller(ctx).Tenant, in.filter()
	if f.To.IsZero() {
		f.To = s.cfg.Now() // the line about this export is not among it
	}
	first, err := s.cfg.Control.AuditAfter(ctx, tenant, 0, f, exportedAtOnce)
	s.act(ctx, "audit.export", "audit", in.Format, err)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		write := auditJSON
		hc.SetHeader("Content-Type", "application/x-ndjson")
		if in.Format == "csv" {
			write = auditCSV
			hc.SetHeader("Content-Type", "text/csv; charset=utf-8")
		}
		hc.SetHeader("Content-Disposition", `attachment; filename="audit.`+map[string]string{"csv": "csv", "json": "ndjson"}[in.Format]+`"`)
		w := hc.BodyWriter()
		list, err, begin := first, error(nil), true
		for err == nil && (begin || len(list) > 0) {
			if _, err = w.Write(write(list, begin)); err != nil || len(list) < exportedAtOnce {
				break
			}
			begin = false
			list, err = s.cfg.Control.AuditAfter(ctx, tenant, list[len(list)-1].Seq, f, exportedAtOnce)
		}
		if err != nil {
			s.cfg.Log.Warn("export of the audit log broke off", "error", err)
			panic(http.ErrAbortHandler) // so that half a file is not taken for a whole one
		}
	}}, nil
}

func auditJSON(list []store.AuditEntry, _ bool) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, e := range list {
		_ = enc.Encode(auditOf(e)) // into memory
	}
	return b.Bytes()
}

func auditCSV(list []store.AuditEntry, begin bool) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if begin {
		_ = w.Write([]string{"seq", "time", "actor", "action", "object", "outcome", "detail", "address", "hash"}) // into memory
	}
	for _, e := range list {
		row := []string{strconv.FormatInt(e.Seq, 10), e.Time.UTC().Format(time.RFC3339Nano), e.Actor, e.Action, e.Object, e.Outcome, e.Detail, e.Address, hex.EncodeToString(e.Hash)}
		for i := range row {
			row[i] = noFormula(row[i])
		}
		_ = w.Write(row)
	}
	w.Flush()
	return b.Bytes()
}

// noFormula keeps a spreadsheet from running what somebody chose as a name: such a cell begins with an apostrophe.
func noFormula(cell string) string {
	if text := strings.TrimLeft(cell, " "); text != "" && strings.ContainsAny(text[:1], "=+-@\t\r\n|%") {
		return "'" + cell
	}
	return cell
}
