package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gin-gonic/gin"

	"github.com/picketwatch/picket/core/kernel/agents/keptbatch"
	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/carved"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	evidencePath = "/api/v1/evidence"
	keptPath     = "/api/v1/alerts/{id}/findings/{finding}"
)

type agentEvidenceInput struct {
	Body struct {
		Epoch string            `json:"epoch" minLength:"1" maxLength:"64" doc:"As with samples."`
		Seq   uint64            `json:"seq" doc:"As with samples."`
		Kept  keptbatch.Packets `json:"kept"`
	}
}

type agentEvidenceBody struct {
	Accepted      int    `json:"accepted" doc:"Packets that are on disk for this finding."`
	StoredThrough uint64 `json:"stored_through" doc:"The sequence number of this batch."`
}

func (s *Server) agentEvidenceRoutes() {
	handle(s, huma.Operation{OperationID: "post-evidence", Method: http.MethodPost, Path: evidencePath, Tags: []string{"agent side"},
		MaxBodyBytes: maxEvidenceBody, SkipValidateBody: true, Summary: "Packets that a finding rests on; answered after they are on disk"}, s.agentEvidence)
}

// agentEvidence keeps packets of a finding that the agent has told before. Those of a finding that is unknown, because it was suppressed or
// is gone, are taken and dropped: the agent has nothing to mend.
func (s *Server) agentEvidence(ctx context.Context, in *agentEvidenceInput) (*body[agentEvidenceBody], error) {
	from, b := sender(ctx), &in.Body
	if b.Epoch == "" || len(b.Epoch) > 64 {
		return nil, invalidField("body.epoch", "must have 1 to 64 bytes")
	}
	n, err := s.cfg.Evidence.Keep(ctx, from, b.Kept)
	var wrong *keptbatch.Error
	if errors.As(err, &wrong) {
		s.audit(ctx, audit.Entry{Tenant: from.Tenant, Actor: "agent:" + from.ID, Action: "agent.evidence", Object: "agent:" + from.ID,
			Outcome: audit.Refused, Detail: wrong.Error(), Address: peer(ctx)})
		return nil, invalidField("body.kept", wrong.Error())
	}
	if err != nil {
		return nil, err
	}
	return answer(agentEvidenceBody{Accepted: n, StoredThrough: b.Seq}), nil
}

// KeptPacketsQuery asks for packets that were kept for a finding.
type KeptPacketsQuery struct {
	IDPath
	Finding string   `path:"finding" maxLength:"64"`
	Flow    uint64   `query:"flow" doc:"Only those of this flow."`
	Numbers []uint64 `query:"numbers" maxItems:"1000" doc:"Only those with these numbers, as in 3,7,12."`
	PacketsPage
}

func (s *Server) keptRoutes(tags []string) {
	handle(s, huma.Operation{OperationID: "list-kept-packets", Method: http.MethodGet, Path: keptPath + "/packets", Tags: tags,
		Summary: "The packets that an agent kept for a finding, decoded, with where each value stands"},
		func(ctx context.Context, in *KeptPacketsQuery) (*body[carved.PacketPage], error) {
			if err := s.findingOf(ctx, in.ID, in.Finding); err != nil {
				return nil, err
			}
			page, err := s.cfg.Evidence.Packets(ctx, caller(ctx).Tenant, in.Finding,
				carved.Wanted{Flow: in.Flow, Numbers: ascending(in.Numbers), After: in.After, Limit: in.Limit})
			return answer(page), err
		})
	s.engine.GET(ginPath(keptPath+"/pcap"), s.keptFile)
	s.documentFile(tags, "get-kept-pcap", keptPath+"/pcap", "The packets that an agent kept for a finding as a pcap file",
		&huma.Param{Name: "finding", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString}})
}

// findingOf is store.ErrNotFound when the alert of this tenant has no such finding.
func (s *Server) findingOf(ctx context.Context, alert, finding string) error {
	tenant := caller(ctx).Tenant
	known, err := s.cfg.Control.HasFinding(ctx, tenant, alert, finding)
	if err == nil && !known {
		return store.ErrNotFound
	}
	return err
}

// keptFile sends a file as it was kept: nobody has to look into a packet for that.
func (s *Server) keptFile(c *gin.Context) {
	ctx, alert, finding := c.Request.Context(), c.Param("id"), c.Param("finding")
	err := s.findingOf(ctx, alert, finding)
	var size int64
	var file io.ReadCloser
	if err == nil {
		f, opening := s.cfg.Evidence.Open(ctx, caller(ctx).Tenant, finding)
		if err = opening; err == nil {
			file = f
			if info, failed := f.Stat(); failed == nil {
				size = info.Size()
			}
		}
	}
	s.act(ctx, "alert.packets", "alert:"+alert, "finding "+finding, err)
	if err != nil {
		s.fail(c, err)
		return
	}
	defer file.Close()
	c.Header("Content-Length", strconv.FormatInt(size, 10))
	out := &download{c: c, name: "alert-" + alert + ".pcap"}
	if _, err := io.Copy(out, file); err != nil {
		s.cfg.Log.Debug("a download of packets was not taken to its end", "error", err)
	}
}

// keptEvidenceBody says what became of the packets of a live finding.
type keptEvidenceBody struct {
	Finding string    `json:"finding"`
	Why     string    `json:"why,omitempty" enum:"off,gone,limit,failed,expired" doc:"There are none. off: the agent keeps none. gone: newer ones had overwritten them. limit: there were too many within an hour. failed: they could not be taken out. expired: they were removed since."`
	Packets int       `json:"packets"`
	Bytes   int64     `json:"bytes" doc:"Of the pcap file."`
	Matched int       `json:"matched" doc:"Packets of the finding that the agent still had; when more than packets, the first and the last were kept."`
	Missing int       `json:"missing" doc:"Packets that the finding names and the agent had no more."`
	Time    time.Time `json:"time"`
}

func keptOf(p store.FindingPackets) keptEvidenceBody {
	return keptEvidenceBody{Finding: p.Finding, Why: p.Why, Packets: len(p.Kept.Packets), Bytes: p.Bytes, Matched: p.Kept.Matched, Missing: p.Kept.Missing,
		Time: p.Created.UTC()}
}

// evidenceFlow is a flow of a finding, and where it can be looked at.
type evidenceFlow struct {
	sdk.FlowRef
	Capture string `json:"capture,omitempty" doc:"The capture or the recording that has the flow. One of live traffic may come some seconds after the finding."`
}

// complete adds to the evidence of an alert what the server has of it: where flows of live traffic were recorded, and what was kept of packets.
func (s *Server) complete(ctx context.Context, alert string, places []evidenceBody, findings []store.Finding) error {
	if !slices.ContainsFunc(places, func(p evidenceBody) bool { return p.Agent != "" }) {
		return nil
	}
	tenant := caller(ctx).Tenant
	kept, err := s.cfg.Control.PacketsOfAlert(ctx, tenant, alert)
	if err != nil {
		return err
	}
	for i := range places {
		p := &places[i]
		if p.Agent == "" {
			continue
		}
		for _, f := range findings {
			if k, ok := kept[f.ID]; ok && f.Agent == p.Agent && f.Run == p.Run {
				p.Kept = append(p.Kept, keptOf(k))
			}
		}
		if p.Run == "" {
			continue // from before the server noted it
		}
		var ids []uint64
		for _, f := range p.Flows {
			if f.ID > 0 {
				ids = append(ids, f.ID)
			}
		}
		recorded, err := s.cfg.Flows.Recorded(ctx, tenant, p.Agent, p.Interface, p.Run, ids)
		if err != nil { // the alert is there all the same
			s.cfg.Log.Warn("the flows of an alert could not be looked up", "alert", alert, "error", err)
			continue
		}
		for j := range p.Flows {
			p.Flows[j].Capture = recorded[p.Flows[j].ID]
		}
	}
	return nil
}
