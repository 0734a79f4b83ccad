package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/agents/flowbatch"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk/records"
)

type agentFlowsInput struct {
	Body struct {
		Epoch string          `json:"epoch" minLength:"1" maxLength:"64" doc:"As with samples."`
		Seq   uint64          `json:"seq" doc:"As with samples."`
		Flows flowbatch.Batch `json:"flows"`
	}
}

type agentFlowsBody struct {
	Accepted      uint64 `json:"accepted" doc:"Flows of this batch that are on disk, now or from an earlier try."`
	StoredThrough uint64 `json:"stored_through" doc:"The sequence number of this batch."`
}

func (s *Server) agentFlowRoutes() {
	handle(s, huma.Operation{OperationID: "post-flows", Method: http.MethodPost, Path: flowsPath, Tags: []string{"agent side"},
		MaxBodyBytes: maxFlows, SkipValidateBody: true, Summary: "Flows that an agent saw; answered after they are on disk"}, s.agentFlows)
}

// agentFlows adds a batch to the recording of its worker and day. One that is sent again is known by its number.
func (s *Server) agentFlows(ctx context.Context, in *agentFlowsInput) (*body[agentFlowsBody], error) {
	from, b := sender(ctx), &in.Body
	if b.Epoch == "" || len(b.Epoch) > 64 {
		return nil, invalidField("body.epoch", "must have 1 to 64 bytes")
	}
	frames, err := b.Flows.Unpack()
	var wrong *flowbatch.Error
	switch {
	case errors.As(err, &wrong):
		return nil, invalidField("body.flows", wrong.Error())
	case err != nil:
		return nil, err
	}
	out := agentFlowsBody{StoredThrough: b.Seq}
	if len(frames) == 0 {
		return answer(out), nil
	}
	out.Accepted, err = s.recordFlows(ctx, store.LiveBatch{Tenant: from.Tenant, Agent: from.ID, Interface: b.Flows.Interface, Filter: b.Flows.Filter,
		Worker: b.Flows.Run, Epoch: b.Epoch, Seq: b.Seq}, frames)
	return answer(out), err
}

func (s *Server) recordFlows(ctx context.Context, b store.LiveBatch, parcels []records.Parcel) (rows uint64, err error) {
	for _, p := range parcels {
		if records.SchemaOf(p.Frame) == records.Flows {
			rows += uint64(records.Count(p.Frame))
		}
	}
	r, err := s.cfg.Flows.RecordLive(ctx, b)
	if errors.Is(err, store.ErrStored) {
		return rows, nil
	}
	if err != nil {
		return 0, err
	}
	for _, p := range parcels {
		if kind := records.SchemaOf(p.Frame).Facts(); kind != "" {
			err = r.Facts(ctx, kind, p)
		} else {
			err = r.Flows(ctx, p)
		}
		if err != nil {
			break
		}
	}
	if closing := r.Close(ctx, err == nil); err == nil {
		err = closing
	}
	return rows, err
}
