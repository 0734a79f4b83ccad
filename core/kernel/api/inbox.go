package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

type inboxNotice struct {
	ID       string       `json:"id"`
	Time     time.Time    `json:"time"`
	Event    string       `json:"event" enum:"alert.firing,alert.resolved"`
	Severity sdk.Severity `json:"severity"`
	Title    string       `json:"title"`
	Text     string       `json:"text"`
	Read     bool         `json:"read"`
	AlertID  string       `json:"alert_id"`
	// Of the alert.
	State    string `json:"state,omitempty" doc:"Of the alert now; without it, the alert is gone."`
	Agent    string `json:"agent,omitempty" doc:"The id of the agent that it is about."`
	Detector string `json:"detector,omitempty"`
	Rule     string `json:"rule,omitempty"`
}

func inboxNoticeOf(n store.InboxNotice) inboxNotice {
	return inboxNotice{ID: n.ID, Time: n.Created.UTC(), Event: n.Payload.Event, Severity: n.Payload.Severity, Title: n.Payload.Title, Text: n.Payload.Text,
		Read: n.Read, AlertID: n.Payload.AlertID, State: n.State, Agent: n.Agent, Detector: n.Detector, Rule: n.Rule}
}

type unreadBody struct {
	Unread int `json:"unread"`
}

func (s *Server) inboxRoutes() {
	tags := []string{"inbox"}
	handle(s, huma.Operation{OperationID: "list-inbox", Method: http.MethodGet, Path: "/api/v1/inbox", Tags: tags,
		Summary: "What you were told on the pages, newest first; the newest 1,000 are kept"}, s.listInbox)
	handle(s, huma.Operation{OperationID: "count-inbox", Method: http.MethodGet, Path: "/api/v1/inbox/unread", Tags: tags,
		Summary: "How much of it you have not read"},
		func(ctx context.Context, _ *struct{}) (*body[unreadBody], error) {
			n, err := s.cfg.Control.CountUnread(ctx, caller(ctx).Tenant, caller(ctx).UserID)
			return answer(unreadBody{n}), err
		})
	handle(s, huma.Operation{OperationID: "mark-inbox", Method: http.MethodPost, Path: "/api/v1/inbox/read", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Say what you have read, or want to read again"}, s.markInbox)
}

func (s *Server) listInbox(ctx context.Context, in *struct {
	PageQuery
	Unread   bool   `query:"unread" doc:"Only what you have not read."`
	Severity string `query:"severity" enum:"info,low,medium,high,critical"`
	Event    string `query:"event" enum:"alert.firing,alert.resolved"`
}) (*body[page[inboxNotice]], error) {
	f := store.InboxFilter{Unread: in.Unread, Severity: in.Severity, Event: in.Event}
	list, next, err := s.cfg.Control.ListInbox(ctx, caller(ctx).Tenant, caller(ctx).UserID, f, in.page())
	return answerPage(convert(list, inboxNoticeOf), next), err
}

func (s *Server) markInbox(ctx context.Context, in *struct {
	Body struct {
		IDs  []string `json:"ids,omitempty" maxItems:"500" doc:"Without them, all."`
		Read bool     `json:"read"`
	}
}) (*struct{}, error) {
	return nil, s.cfg.Control.MarkInbox(ctx, caller(ctx).Tenant, caller(ctx).UserID, in.Body.IDs, in.Body.Read)
}
