package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

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

// agentFlows keeps each batch as a recording of its own. Its name says which batch it is: one that is sent again takes the
// place of itself.
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
	out.Accepted, err = s.recordFlows(ctx, from, recordingOf(from.ID, b.Epoch, b.Seq), frames)
	return answer(out), err
}

// recordingOf names the recording of a batch: the same for the same batch, and unlike any that another agent can make.
func recordingOf(agent, epoch string, seq uint64) string {
	return "live-" + uuid.NewSHA1(liveRecordings, fmt.Appendf(nil, "%q %q %d", agent, epoch, seq)).String()
}

// liveRecordings is the space of these names.
var liveRecordings = uuid.MustParse("5b0f6c4e-6f0e-5d0b-9a53-0c3c8d5f7a11")

func (s *Server) recordFlows(ctx context.Context, from store.Agent, name string, frames [][]byte) (rows uint64, err error) {
	r, err := s.cfg.Flows.RecordLive(ctx, from.Tenant, from.ID, name)
	if err != nil {
		return 0, err
	}
	for _, frame := range frames {
		if kind := records.SchemaOf(frame).Facts(); kind != "" {
			err = r.Facts(ctx, kind, records.Parcel{Frame: frame})
		} else {
			err = r.Flows(ctx, records.Parcel{Frame: frame})
			rows += uint64(records.Count(frame))
		}
		if err != nil {
			break
		}
	}
	// A recording that is not complete would take the place of one that is.
	if closing := r.Close(ctx, err == nil); err == nil {
		err = closing
	}
	return rows, err
}
