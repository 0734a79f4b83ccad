package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/agents/findingbatch"
	"github.com/picketwatch/picket/core/kernel/audit"
)

const findingsPath = "/api/v1/findings"

type agentFindingsInput struct {
	Body struct {
		Epoch string             `json:"epoch" minLength:"1" maxLength:"64" doc:"As with samples."`
		Seq   uint64             `json:"seq" doc:"As with samples."`
		Found findingbatch.Found `json:"found"`
	}
}

type agentFindingsBody struct {
	Accepted      int    `json:"accepted" doc:"Findings of this batch that are on disk, now or from an earlier try."`
	StoredThrough uint64 `json:"stored_through" doc:"The sequence number of this batch."`
}

func (s *Server) agentFindingRoutes() {
	handle(s, huma.Operation{OperationID: "post-findings", Method: http.MethodPost, Path: findingsPath, Tags: []string{"agent side"},
		MaxBodyBytes: maxFound, SkipValidateBody: true, Summary: "What detectors found on an agent; answered after it is on disk"}, s.agentFindings)
}

// agentFindings makes alerts of what an agent found. A finding has an id that follows from what was found and where, so that
// a batch that is sent again changes nothing. What comes from a detector that the agent was not told to run is refused, and
// written down.
func (s *Server) agentFindings(ctx context.Context, in *agentFindingsInput) (*body[agentFindingsBody], error) {
	from, b := sender(ctx), &in.Body
	if b.Epoch == "" || len(b.Epoch) > 64 {
		return nil, invalidField("body.epoch", "must have 1 to 64 bytes")
	}
	if err := b.Found.Check(); err != nil {
		return nil, invalidField("body.found", err.Error())
	}
	err := s.cfg.Alerts.Found(ctx, from, b.Found)
	var wrong *findingbatch.Error
	if errors.As(err, &wrong) {
		s.audit(ctx, audit.Entry{Tenant: from.Tenant, Actor: "agent:" + from.ID, Action: "agent.findings", Object: "agent:" + from.ID,
			Outcome: audit.Refused, Detail: wrong.Error(), Address: peer(ctx)})
		return nil, invalidField("body.found", wrong.Error())
	}
	if err != nil {
		return nil, err
	}
	return answer(agentFindingsBody{Accepted: len(b.Found.Findings), StoredThrough: b.Seq}), nil
}
