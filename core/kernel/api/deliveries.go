package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type deliveryBody struct {
	noticeBody
	AlertID string    `json:"alert_id"`
	Title   string    `json:"title"`
	Created time.Time `json:"created"`
}

func deliveryOf(n store.Notice) deliveryBody {
	return deliveryBody{noticeBody: noticeOf(n), AlertID: n.AlertID, Title: n.Payload.Title, Created: n.Created.UTC()}
}

func (s *Server) deliveryRoutes() {
	tags := []string{"deliveries"}
	handle(s, huma.Operation{OperationID: "list-deliveries", Method: http.MethodGet, Path: "/api/v1/deliveries", Tags: tags,
		Summary: "What notifiers were told, or are to be, newest first"},
		func(ctx context.Context, in *struct {
			PageQuery
			State    string `query:"state" enum:"queued,delivered,failed,dead"`
			Notifier string `query:"notifier" maxLength:"128" doc:"An instance."`
		}) (*body[page[deliveryBody]], error) {
			list, next, err := s.cfg.Control.ListDeliveries(ctx, caller(ctx).Tenant, store.DeliveryFilter{State: in.State, Notifier: in.Notifier}, in.page())
			return answerPage(convert(list, deliveryOf), next), err
		})
	handle(s, huma.Operation{OperationID: "send-again", Method: http.MethodPost, Path: "/api/v1/deliveries/{id}/again", Tags: tags,
		Summary: "Deliver now what was given up or waits for its next attempt"}, s.sendAgain)
}

func (s *Server) sendAgain(ctx context.Context, in *IDPath) (*body[deliveryBody], error) {
	n, err := s.cfg.Alerts.SendAgain(ctx, caller(ctx).Tenant, in.ID)
	s.act(ctx, "delivery.again", "notice:"+in.ID, n.Notifier, err)
	if errors.Is(err, store.ErrState) {
		return nil, huma.Error409Conflict("it was delivered, or is being delivered; only what failed is sent again")
	}
	if err != nil {
		return nil, err
	}
	return answer(deliveryOf(n)), nil
}
