package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type auditBody struct {
	ID      string    `json:"id"`
	Time    time.Time `json:"time"`
	Actor   string    `json:"actor"`
	Action  string    `json:"action"`
	Object  string    `json:"object"`
	Outcome string    `json:"outcome" enum:"ok,refused,failed"`
	Detail  string    `json:"detail"`
	Address string    `json:"address"`
}

func (s *Server) auditRoutes() {
	handle(s, huma.Operation{OperationID: "list-audit", Method: http.MethodGet, Path: "/api/v1/audit", Tags: []string{"audit"},
		Summary: "Who did what, newest first"},
		func(ctx context.Context, in *struct {
			PageQuery
			Actor   string `query:"actor" maxLength:"200"`
			Action  string `query:"action" maxLength:"200"`
			Object  string `query:"object" maxLength:"200"`
			Outcome string `query:"outcome" enum:"ok,refused,failed"`
		}) (*body[page[auditBody]], error) {
			f := store.AuditFilter{Actor: in.Actor, Action: in.Action, Object: in.Object, Outcome: in.Outcome}
			l, next, err := s.cfg.Control.ListAudit(ctx, caller(ctx).Tenant, f, in.page())
			return answerPage(convert(l, func(e store.AuditEntry) auditBody {
				return auditBody{ID: e.ID, Time: e.Time.UTC(), Actor: e.Actor, Action: e.Action, Object: e.Object,
					Outcome: e.Outcome, Detail: e.Detail, Address: e.Address}
			}), next), err
		})
}
