package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/agents/samplebatch"
	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

const (
	packedPath = "/api/v1/agent/samples"

	maxBooks     = 2_000_000 // series in the books of all agents; 16 bytes each
	unpackWeight = 16        // times as much as the plain bytes of a message is in work for it
)

type packedInput struct {
	RawBody []byte `contentType:"application/vnd.picket.samples+zstd"`
}

func (s *Server) agentSampleRoutes() {
	handle(s, huma.Operation{OperationID: "agent-samples", Method: http.MethodPost, Path: packedPath, Tags: []string{"agent side"},
		MaxBodyBytes: maxPacked, SkipValidateBody: true, Errors: []int{http.StatusConflict},
		Summary: "Samples from an agent in few bytes, see docs/agent-protocol.md; answered after they are on disk"}, s.agentSamples)
}

// agentSamples is ingest for samples whose series the agent has described before.
func (s *Server) agentSamples(ctx context.Context, in *packedInput) (*body[samplesBody], error) {
	size, err := samplebatch.PlainSize(in.RawBody)
	if err != nil {
		return nil, notUnderstood(err)
	}
	if !s.taken.TryAcquire(unpackWeight * size) {
		return nil, &store.BusyError{RetryAfter: time.Second}
	}
	defer s.taken.Release(unpackWeight * size)
	m, err := samplebatch.Unpack(in.RawBody)
	if err != nil {
		return nil, notUnderstood(err)
	}
	if m.Known == 0 && (m.Epoch == "" || len(m.Epoch) > 64) {
		return nil, invalidField("body.epoch", "must have 1 to 64 bytes")
	}
	from := sender(ctx)
	epoch, known, ok := s.books.Read(from.ID, m, s.cfg.Now(), func(x samplebatch.Series) (store.SeriesRef, bool) {
		ref, _ := s.cfg.Telemetry.Ref(from.Tenant, from.ID, &sdk.Sample{Metric: x.Metric, Unit: x.Unit, Type: x.Type, Labels: x.Labels})
		return ref, ref.Known()
	})
	if !ok {
		return nil, huma.Error409Conflict("this server does not know what the numbers of these series mean; describe all of them again")
	}
	rows := make([]store.SampleRow, len(m.Rows))
	seen := map[string]bool{}
	for i, r := range m.Rows {
		of := known[r.Series]
		rows[i] = store.SampleRow{Of: of, Micros: r.Micros, Value: r.Value}
		if of.Known() {
			seen[of.Metric()] = true
		}
	}
	res, err := s.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: from.Tenant, Agent: from.ID, Epoch: epoch, Seq: m.Seq, Rows: rows})
	if err != nil {
		return nil, err
	}
	return s.appended(from, res, slices.Sorted(maps.Keys(seen))), nil
}

// notUnderstood is the problem of a body that is no message.
func notUnderstood(err error) error {
	var wrong *samplebatch.Error
	if errors.As(err, &wrong) {
		return invalidField("body", wrong.Error())
	}
	return err
}

// appended tells watchers what is new, and the agent what became of its batch.
func (s *Server) appended(from store.Agent, res store.AppendResult, metrics []string) *body[samplesBody] {
	if res.Stored > 0 {
		s.cfg.Live.Publish(from.Tenant, "samples", liveSamples{Agent: from.ID, Metrics: metrics})
	}
	return answer(samplesBody{Accepted: res.Stored + res.Duplicate, Refused: res.TooOld + res.TooNew + res.Invalid,
		StoredThrough: res.StoredThrough})
}
