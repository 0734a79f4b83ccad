package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type deviceBody struct {
	ID        string                `json:"id"`
	IPs       []string              `json:"ips" nullable:"false"`
	MACs      []string              `json:"macs" nullable:"false"`
	Hostnames []string              `json:"hostnames" nullable:"false"`
	Vendor    string                `json:"vendor,omitempty"`
	FirstSeen time.Time             `json:"first_seen"`
	LastSeen  time.Time             `json:"last_seen"`
	Sources   []string              `json:"sources" nullable:"false" doc:"The plugins that saw it."`
	Facts     map[string]store.Fact `json:"facts"`
}

func deviceOf(d store.Device) deviceBody {
	b := deviceBody{ID: d.ID, IPs: list(d.IPs), MACs: list(d.MACs), Hostnames: list(d.Hostnames), Vendor: d.Vendor,
		FirstSeen: d.FirstSeen.UTC(), LastSeen: d.LastSeen.UTC(), Sources: list(d.Sources), Facts: d.Facts}
	if b.Facts == nil {
		b.Facts = map[string]store.Fact{}
	}
	return b
}

// list is never null in JSON.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

func (s *Server) deviceRoutes() {
	tags := []string{"devices"}
	handle(s, huma.Operation{OperationID: "list-devices", Method: http.MethodGet, Path: "/api/v1/devices", Tags: tags,
		Summary: "What is on the network"},
		func(ctx context.Context, in *struct {
			PageQuery
			Text string `query:"text" maxLength:"200" doc:"A part of an address, a name or a maker."`
			Sort string `query:"sort" enum:"name,latest,newest" doc:"Without it in the order in which they were found."`
		}) (*body[page[deviceBody]], error) {
			f := store.DeviceFilter{Text: in.Text, Sort: store.DeviceSort(in.Sort)}
			l, next, err := s.cfg.Control.FindDevices(ctx, caller(ctx).Tenant, f, in.page())
			return answerPage(convert(l, deviceOf), next), err
		})
	handle(s, huma.Operation{OperationID: "get-device", Method: http.MethodGet, Path: "/api/v1/devices/{id}", Tags: tags,
		Summary: "One device"},
		func(ctx context.Context, in *IDPath) (*body[deviceBody], error) {
			d, err := s.cfg.Control.DeviceByID(ctx, caller(ctx).Tenant, in.ID)
			return answer(deviceOf(d)), err
		})
}
