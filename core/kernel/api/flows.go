package api

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const flowsPath = "/api/v1/flows"

type flowBody struct {
	Capture    string    `json:"capture"`
	ID         uint64    `json:"id" doc:"Within the capture."`
	Start      time.Time `json:"start"`
	Duration   float64   `json:"duration" doc:"Seconds."`
	Src        string    `json:"src" doc:"The side that began."`
	SrcPort    uint16    `json:"src_port" doc:"ICMP: the type."`
	Dst        string    `json:"dst"`
	DstPort    uint16    `json:"dst_port" doc:"ICMP: the code."`
	Proto      string    `json:"proto" doc:"tcp, udp, icmp, icmpv6 or ip."`
	ProtoID    uint8     `json:"proto_id" doc:"As in the IP header."`
	App        string    `json:"app" doc:"Application protocol as the content shows it; empty when it is not known."`
	Name       string    `json:"name" doc:"The first name in what the flow said: a server name, a host, a name that was asked for."`
	VLAN       uint16    `json:"vlan" doc:"0: untagged."`
	Tunnel     string    `json:"tunnel" doc:"Kind of the innermost tunnel, empty for none."`
	TunnelID   uint32    `json:"tunnel_id"`
	EndReason  string    `json:"end_reason" enum:"none,fin,rst,idle,active,eviction,end"`
	Packets    uint64    `json:"packets" doc:"Of both directions."`
	FwdPackets uint64    `json:"fwd_packets" doc:"From src to dst."`
	Bytes      uint64    `json:"bytes" doc:"IP length, of both directions."`
	FwdBytes   uint64    `json:"fwd_bytes"`
}

func flowOf(f store.FlowRow) flowBody {
	return flowBody{Capture: f.Capture, ID: f.ID, Start: f.Start.UTC(), Duration: f.Duration.Seconds(), Src: address(f.Src), SrcPort: f.SrcPort,
		Dst: address(f.Dst), DstPort: f.DstPort, Proto: sdk.ProtoName(f.Proto), ProtoID: f.Proto, App: f.App, Name: f.Name, VLAN: f.VLAN,
		Tunnel: f.Tunnel, TunnelID: f.TunnelID, EndReason: f.EndReason.String(), Packets: f.Packets, FwdPackets: f.FwdPackets,
		Bytes: f.Bytes, FwdBytes: f.FwdBytes}
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type flowPageBody struct {
	Items      []flowBody `json:"items" nullable:"false"`
	NextCursor string     `json:"next_cursor,omitempty" doc:"Send as cursor to get the next page; absent on the last."`
	Incomplete bool       `json:"incomplete,omitempty" doc:"A part of the store could not be read; the server's log says which."`
}

type flowCountBody struct {
	Flows   uint64 `json:"flows"`
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

type appCountBody struct {
	flowCountBody
	App string `json:"app"`
}

type protoCountBody struct {
	flowCountBody
	Proto   string `json:"proto"`
	ProtoID uint8  `json:"proto_id"`
}

type talkerBody struct {
	flowCountBody
	Address string `json:"address"`
}

type portCountBody struct {
	flowCountBody
	Proto   string `json:"proto"`
	ProtoID uint8  `json:"proto_id"`
	Port    uint16 `json:"port"`
}

type flowTimeBody struct {
	flowCountBody
	Time time.Time `json:"time" doc:"The start of the step."`
}

type flowSummaryBody struct {
	flowCountBody
	FwdBytes    uint64           `json:"fwd_bytes"`
	First       *time.Time       `json:"first,omitempty" doc:"When the first of the flows began."`
	Last        *time.Time       `json:"last,omitempty" doc:"When the last of the flows began."`
	Apps        []appCountBody   `json:"apps" nullable:"false" doc:"By bytes, the largest first."`
	Protos      []protoCountBody `json:"protos" nullable:"false"`
	Talkers     []talkerBody     `json:"talkers" nullable:"false" doc:"Addresses of either side, by bytes."`
	Ports       []portCountBody  `json:"ports" nullable:"false" doc:"Ports of the side that was asked, by bytes."`
	StepSeconds float64          `json:"step_seconds"`
	Times       []flowTimeBody   `json:"times" nullable:"false" doc:"Flows by when they began; steps without any are left out."`
	Sampled     uint64           `json:"sampled,omitempty" doc:"Talkers and ports are estimated from an even sample of so many flows; absent when they were counted."`
	Incomplete  bool             `json:"incomplete,omitempty" doc:"A part of the store could not be read; the server's log says which."`
}

func countOf(c store.FlowCount) flowCountBody { return flowCountBody(c) }

func summaryOf(x store.FlowSummary) flowSummaryBody {
	return flowSummaryBody{
		flowCountBody: countOf(x.FlowCount), FwdBytes: x.FwdBytes, First: when(x.First), Last: when(x.Last), StepSeconds: x.Step.Seconds(),
		Sampled: x.Sampled, Incomplete: x.Incomplete,
		Apps: convert(x.Apps, func(g store.FlowGroup) appCountBody { return appCountBody{countOf(g.FlowCount), g.App} }),
		Protos: convert(x.Protos, func(g store.FlowGroup) protoCountBody {
			return protoCountBody{countOf(g.FlowCount), sdk.ProtoName(g.Proto), g.Proto}
		}),
		Talkers: convert(x.Talkers, func(g store.FlowGroup) talkerBody { return talkerBody{countOf(g.FlowCount), address(g.Host)} }),
		Ports: convert(x.Ports, func(g store.FlowGroup) portCountBody {
			return portCountBody{countOf(g.FlowCount), sdk.ProtoName(g.Proto), g.Proto, g.Port}
		}),
		Times: convert(x.Times, func(t store.FlowTime) flowTimeBody { return flowTimeBody{countOf(t.FlowCount), t.Start.UTC()} }),
	}
}

type featureBody struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Doc   string  `json:"doc,omitempty"`
	Value float64 `json:"value"`
	P5    float64 `json:"p5" doc:"Of similar flows, as the next three."`
	P50   float64 `json:"p50"`
	P95   float64 `json:"p95"`
	Mean  float64 `json:"mean"`
}

type flowDetailBody struct {
	flowBody
	End              time.Time      `json:"end"`
	CommunityID      string         `json:"community_id"`
	InitiatorGuessed bool           `json:"initiator_guessed" doc:"The capture did not show who began."`
	FwdPayload       uint64         `json:"fwd_payload" doc:"Bytes above the transport."`
	RevPayload       uint64         `json:"rev_payload"`
	FwdFlags         uint8          `json:"fwd_flags" doc:"TCP flags seen, or-ed."`
	RevFlags         uint8          `json:"rev_flags"`
	FwdFirstFlags    uint8          `json:"fwd_first_flags"`
	EvidencePackets  []uint64       `json:"evidence_packets" nullable:"false" doc:"Numbers of the first packets in the capture."`
	Features         []featureBody  `json:"features" nullable:"false"`
	Like             int            `json:"like" doc:"How many stored flows of the same application and port the features are compared with."`
	Facts            []flowFactBody `json:"facts" nullable:"false" doc:"The first ones; /api/v1/facts has all."`
}

func detailOf(d store.FlowDetail) flowDetailBody {
	f := d.Flow
	row := store.FlowRow{Capture: d.Capture, ID: f.ID, Start: f.Start, Duration: f.Duration(), Src: f.Src, Dst: f.Dst, SrcPort: f.SrcPort,
		DstPort: f.DstPort, VLAN: f.VLAN, Proto: f.Proto, EndReason: f.EndReason, App: f.App, Tunnel: f.Tunnel, TunnelID: f.TunnelID, Name: d.Name,
		Packets: f.FwdPackets + f.RevPackets, FwdPackets: f.FwdPackets, Bytes: f.FwdBytes + f.RevBytes, FwdBytes: f.FwdBytes}
	return flowDetailBody{flowBody: flowOf(row), End: f.End.UTC(), CommunityID: f.CommunityID, InitiatorGuessed: f.InitiatorGuessed,
		FwdPayload: f.FwdPayload, RevPayload: f.RevPayload, FwdFlags: f.FwdFlags, RevFlags: f.RevFlags, FwdFirstFlags: f.FwdFirstFlags,
		EvidencePackets: list(f.Packets), Like: d.Like, Facts: convert(d.Facts, factOf),
		Features: convert(d.Features, func(x store.FlowFeature) featureBody { return featureBody(x) })}
}

func (s *Server) flowRoutes() {
	tags := []string{"flows"}
	handle(s, huma.Operation{OperationID: "list-flows", Method: http.MethodGet, Path: flowsPath, Tags: tags,
		Summary: "Stored flows of all captures"}, s.listFlows)
	handle(s, huma.Operation{OperationID: "summarise-flows", Method: http.MethodGet, Path: flowsPath + "/summary", Tags: tags,
		Summary: "What flows add up to"}, s.flowSummary)
	handle(s, huma.Operation{OperationID: "get-flow", Method: http.MethodGet, Path: flowsPath + "/{capture}/{id}", Tags: tags,
		Summary: "A flow with its features beside those of similar flows, and what it said"}, s.getFlow)
	handle(s, huma.Operation{OperationID: "list-facts", Method: http.MethodGet, Path: "/api/v1/facts", Tags: tags,
		Summary: "What the parsers of application protocols understood, oldest first"}, s.listFacts)
	handle(s, huma.Operation{OperationID: "export-flows", Method: http.MethodPost, Path: flowsPath + "/export", Tags: tags,
		Summary: "Flows as a file"}, s.exportFlows)
	handle(s, huma.Operation{OperationID: "list-flow-columns", Method: http.MethodGet, Path: flowsPath + "/columns", Tags: tags,
		Summary: "The columns of exported flows with their units"}, exportColumns)
}

func (s *Server) listFlows(ctx context.Context, in *struct {
	PageQuery
	FlowFilterQuery
	Sort  string `query:"sort" enum:"start,duration,bytes,packets" default:"start"`
	Order string `query:"order" enum:"asc,desc" default:"desc"`
}) (*body[flowPageBody], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	p, err := s.cfg.Flows.List(ctx, store.FlowQuery{Tenant: caller(ctx).Tenant, Filter: f, Sort: store.FlowSort(in.Sort),
		Ascending: in.Order == "asc", Page: in.page()})
	return answer(flowPageBody{Items: convert(p.Flows, flowOf), NextCursor: p.Next, Incomplete: p.Incomplete}), err
}

func (s *Server) flowSummary(ctx context.Context, in *FlowFilterQuery) (*body[flowSummaryBody], error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	x, err := s.cfg.Flows.Summary(ctx, caller(ctx).Tenant, f)
	return answer(summaryOf(x)), err
}

func (s *Server) getFlow(ctx context.Context, in *struct {
	Capture string `path:"capture" maxLength:"64"`
	ID      uint64 `path:"id"`
}) (*body[flowDetailBody], error) {
	d, err := s.cfg.Flows.Get(ctx, caller(ctx).Tenant, in.Capture, in.ID)
	if err != nil {
		return nil, err
	}
	return answer(detailOf(d)), nil
}
