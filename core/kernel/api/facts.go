package api

import (
	"context"
	"time"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

type flowFactBody struct {
	Kind       string         `json:"kind" enum:"dns,tls,http,smb,dhcp,arp,ot,files,logins,messages"`
	Capture    string         `json:"capture"`
	Number     uint64         `json:"number" doc:"Within the capture, in the order in which facts came."`
	Flow       uint64         `json:"flow" doc:"The id of its flow, 0 for none."`
	Packet     uint64         `json:"packet" doc:"Number in the capture of the packet that completed it."`
	Time       time.Time      `json:"time"`
	Client     string         `json:"client"`
	ClientPort uint16         `json:"client_port"`
	Server     string         `json:"server"`
	ServerPort uint16         `json:"server_port"`
	Proto      string         `json:"proto"`
	VLAN       uint16         `json:"vlan"`
	FromServer bool           `json:"from_server" doc:"Where the fact is one message: its direction."`
	Name       string         `json:"name" doc:"The name in it, if there is one."`
	Fields     map[string]any `json:"fields" doc:"What this kind of fact says; what is empty is left out."`
}

func factOf(f store.FlowFact) flowFactBody {
	return flowFactBody{Kind: f.Kind, Capture: f.Capture, Number: f.Number, Flow: f.Seen.Flow, Packet: f.Seen.Packet, Time: f.Seen.Time.UTC(),
		Client: address(f.Seen.Client), ClientPort: f.Seen.ClientPort, Server: address(f.Seen.Server), ServerPort: f.Seen.ServerPort,
		Proto: sdk.ProtoName(f.Seen.Proto), VLAN: f.Seen.VLAN, FromServer: f.Seen.FromServer, Name: f.Name, Fields: store.FactFields(f.Value)}
}

type flowFactPageBody struct {
	Items      []flowFactBody `json:"items" nullable:"false"`
	NextCursor string         `json:"next_cursor,omitempty" doc:"Send as cursor to get the next page; absent on the last."`
	Incomplete bool           `json:"incomplete,omitempty" doc:"A part of the store could not be read; the server's log says which."`
}

func (s *Server) listFacts(ctx context.Context, in *struct {
	PageQuery
	Kind    string    `query:"kind" required:"true" enum:"dns,tls,http,smb,dhcp,arp,ot,files,logins,messages"`
	Capture []string  `query:"capture" maxItems:"100"`
	Flow    uint64    `query:"flow" doc:"The id of a flow; needs one capture."`
	Host    string    `query:"host" maxLength:"64" doc:"An address or a network on either side."`
	From    time.Time `query:"from" doc:"RFC 3339."`
	To      time.Time `query:"to" doc:"RFC 3339; before this."`
	Text    string    `query:"text" maxLength:"200" doc:"A part of its name."`
}) (*body[flowFactPageBody], error) {
	host, err := network("query.host", in.Host)
	if err != nil {
		return nil, err
	}
	if in.Flow != 0 && len(in.Capture) != 1 {
		return nil, invalidField("query.flow", "needs the one capture that the flow is in")
	}
	p, err := s.cfg.Flows.Facts(ctx, store.FactQuery{Tenant: caller(ctx).Tenant, Kind: in.Kind, Captures: in.Capture, Flow: in.Flow,
		Host: host, From: in.From, To: in.To, Text: in.Text, Page: in.page()})
	return answer(flowFactPageBody{Items: convert(p.Facts, factOf), NextCursor: p.Next, Incomplete: p.Incomplete}), err
}
