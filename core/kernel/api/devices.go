package api

import (
	"context"
	"net/http"
	"net/netip"
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

type deviceHistoryBody struct {
	Changes []store.DeviceChange `json:"changes" nullable:"false" doc:"The latest first, at most 256."`
	Days    []store.DeviceDay    `json:"days" nullable:"false" doc:"In which hours it was seen, the latest day first, at most 90."`
}

// deviceSeenBody is a device in a list of those that were seen in a time.
type deviceSeenBody struct {
	ID        string    `json:"id"`
	IPs       []string  `json:"ips" nullable:"false"`
	MACs      []string  `json:"macs" nullable:"false"`
	Hostnames []string  `json:"hostnames" nullable:"false"`
	Hours     int       `json:"hours" doc:"In how many hours of the time it was seen."`
	First     time.Time `json:"first" doc:"The first of these hours."`
	Last      time.Time `json:"last" doc:"The last of these hours."`
}

func deviceSeenOf(p store.Presence) deviceSeenBody {
	return deviceSeenBody{ID: p.ID, IPs: list(p.IPs), MACs: list(p.MACs), Hostnames: list(p.Hostnames), Hours: p.Hours, First: p.First, Last: p.Last}
}

type discoveryDiffBody struct {
	New    []deviceSeenBody `json:"new" nullable:"false" doc:"Seen in the later hour and not in the earlier one."`
	Gone   []deviceSeenBody `json:"gone" nullable:"false" doc:"Seen in the earlier hour and not in the later one."`
	Stayed int              `json:"stayed"`
	Cut    bool             `json:"cut" doc:"More devices were seen than are compared: state a smaller network."`
}

// maxCompared bounds the devices of each of two hours that are compared.
const maxCompared = 20_000

// WithinQuery narrows a list to a network.
type WithinQuery struct {
	Within string `query:"within" maxLength:"50" doc:"A network in CIDR form; devices with an address in it."`
}

func (q WithinQuery) prefix() (netip.Prefix, error) {
	if q.Within == "" {
		return netip.Prefix{}, nil
	}
	p, err := netip.ParsePrefix(q.Within)
	if err != nil {
		return p, huma.Error422UnprocessableEntity(q.Within + " is not a network: state one in CIDR form, as 192.0.2.0/24")
	}
	return p.Masked(), nil
}

func (s *Server) discoveryRoutes() {
	tags := []string{"devices"}
	handle(s, huma.Operation{OperationID: "get-device-history", Method: http.MethodGet, Path: "/api/v1/devices/{id}/history", Tags: tags,
		Summary: "What became of a device, and when it was seen"},
		func(ctx context.Context, in *IDPath) (*body[deviceHistoryBody], error) {
			changes, days, err := s.cfg.Control.DeviceHistory(ctx, caller(ctx).Tenant, in.ID)
			return answer(deviceHistoryBody{Changes: list(changes), Days: list(days)}), err
		})
	handle(s, huma.Operation{OperationID: "list-discovery-history", Method: http.MethodGet, Path: "/api/v1/discovery/history", Tags: tags,
		Summary: "Which devices were seen in a time"},
		func(ctx context.Context, in *struct {
			PageQuery
			WithinQuery
			From time.Time `query:"from" required:"true"`
			To   time.Time `query:"to" required:"true"`
		}) (*body[page[deviceSeenBody]], error) {
			within, err := in.prefix()
			if err != nil {
				return nil, err
			}
			l, next, err := s.cfg.Control.DevicesSeen(ctx, caller(ctx).Tenant, in.From, in.To, within, in.Cursor, in.Limit)
			return answerPage(convert(l, deviceSeenOf), next), err
		})
	handle(s, huma.Operation{OperationID: "get-discovery-difference", Method: http.MethodGet, Path: "/api/v1/discovery/difference", Tags: tags,
		Summary: "Which devices came and went between two hours"},
		func(ctx context.Context, in *struct {
			WithinQuery
			Earlier time.Time `query:"earlier" required:"true"`
			Later   time.Time `query:"later" required:"true"`
		}) (*body[discoveryDiffBody], error) {
			within, err := in.prefix()
			if err != nil {
				return nil, err
			}
			at := func(t time.Time) (seen map[string]store.Presence, order []string, cut bool, err error) {
				l, next, err := s.cfg.Control.DevicesSeen(ctx, caller(ctx).Tenant, t, t, within, "", maxCompared)
				seen = make(map[string]store.Presence, len(l))
				for _, p := range l {
					seen[p.ID], order = p, append(order, p.ID)
				}
				return seen, order, next != "", err
			}
			before, left, cutBefore, err := at(in.Earlier)
			if err != nil {
				return nil, err
			}
			after, came, cutAfter, err := at(in.Later)
			out := discoveryDiffBody{New: []deviceSeenBody{}, Gone: []deviceSeenBody{}, Cut: cutBefore || cutAfter}
			for _, id := range came {
				if _, both := before[id]; both {
					out.Stayed++
				} else {
					out.New = append(out.New, deviceSeenOf(after[id]))
				}
			}
			for _, id := range left {
				if _, both := after[id]; !both {
					out.Gone = append(out.Gone, deviceSeenOf(before[id]))
				}
			}
			return answer(out), err
		})
}
