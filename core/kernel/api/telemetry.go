package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

type metricBody struct {
	Metric string         `json:"metric"`
	Unit   string         `json:"unit" doc:"UCUM, for example s, By, 1."`
	Type   sdk.MetricType `json:"type" enum:"gauge,counter"`
	Series int            `json:"series"`
}

// point is [unix milliseconds, value]; a value that is not known is null.
type point [2]any

// Schema says so in the document.
func (point) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeArray, MinItems: ptr(2), MaxItems: ptr(2),
		Items: &huma.Schema{Type: huma.TypeNumber, Nullable: true}, Description: "[unix milliseconds, value or null]"}
}

func ptr[T any](v T) *T { return &v }

type lineBody struct {
	Agent  string            `json:"agent" doc:"The id of the agent that sent it."`
	Labels map[string]string `json:"labels"`
	Points []point           `json:"points" nullable:"false"`
}

type seriesBody struct {
	Metric      string         `json:"metric"`
	Unit        string         `json:"unit"`
	Type        sdk.MetricType `json:"type"`
	StepSeconds float64        `json:"step_seconds"`
	Truncated   bool           `json:"truncated,omitempty" doc:"There are more series than one answer holds."`
	Series      []lineBody     `json:"series" nullable:"false"`
}

type seriesInput struct {
	Metric string    `query:"metric" required:"true" minLength:"1" maxLength:"200" example:"system.cpu.utilization"`
	Labels string    `query:"labels" maxLength:"2000" doc:"k=v,k2=v2: only series with these labels; agent=ID narrows to an agent."`
	Agent  string    `query:"agent" maxLength:"64" doc:"Only series of this agent."`
	Plugin string    `query:"plugin" maxLength:"128" doc:"Only series of this plugin's own: it names the metric, no other enabled plugin does, and it runs where they come from."`
	From   time.Time `query:"from" doc:"RFC 3339; without it, an hour before to."`
	To     time.Time `query:"to" doc:"RFC 3339; without it, now."`
	Step   string    `query:"step" maxLength:"20" doc:"A time span such as 10s; without it, chosen for about 300 points."`
	Agg    string    `query:"agg" enum:"avg,min,max,last" default:"avg" doc:"How the samples of a step become one value."`
	Rate   bool      `query:"rate" doc:"A counter as its increase per second."`
}

type samplesInput struct {
	Body struct {
		Epoch   string       `json:"epoch" minLength:"1" maxLength:"64" doc:"Names the agent's queue; a queue made anew has a new one."`
		Seq     uint64       `json:"seq" doc:"Rises with every batch of an epoch."`
		Samples []sdk.Sample `json:"samples" nullable:"false" maxItems:"100000"`
	}
}

type samplesBody struct {
	Accepted      int    `json:"accepted" doc:"Samples of this batch that are on disk, now or from an earlier try."`
	Refused       int    `json:"refused,omitempty" doc:"Samples that will never be stored: too old, too new or not valid."`
	StoredThrough uint64 `json:"stored_through" doc:"The highest sequence number of this epoch that is on disk."`
}

type sightingsInput struct {
	Body struct {
		Epoch     string           `json:"epoch" minLength:"1" maxLength:"64"`
		Seq       uint64           `json:"seq"`
		Sightings []store.Sighting `json:"sightings" nullable:"false" maxItems:"10000"`
	}
}

func (s *Server) telemetryRoutes() {
	tags := []string{"metrics"}
	handle(s, huma.Operation{OperationID: "list-metrics", Method: http.MethodGet, Path: "/api/v1/metrics/names", Tags: tags,
		Summary: "Metrics that have been seen"}, s.metricNames)
	handle(s, huma.Operation{OperationID: "get-series", Method: http.MethodGet, Path: "/api/v1/series", Tags: tags,
		Summary: "The series of a metric over a time"}, s.series)
	// The body of an agent is checked by its signature and by the store; checking each of 100,000 samples against a
	// schema first would cost more than storing them.
	handle(s, huma.Operation{OperationID: "post-metrics", Method: http.MethodPost, Path: "/api/v1/metrics", Tags: tags,
		MaxBodyBytes: maxSamples, SkipValidateBody: true, Summary: "Samples from an agent; answered after they are on disk"}, s.ingest)
	handle(s, huma.Operation{OperationID: "post-sightings", Method: http.MethodPost, Path: "/api/v1/sightings", Tags: []string{"devices"},
		MaxBodyBytes: maxSightings, SkipValidateBody: true, Summary: "Sightings from an agent"}, s.sightings)
}

func (s *Server) metricNames(ctx context.Context, _ *struct{}) (*body[page[metricBody]], error) {
	names, err := s.cfg.Telemetry.MetricNames(ctx, caller(ctx).Tenant)
	return answerPage(convert(names, func(m store.MetricName) metricBody {
		return metricBody{Metric: m.Metric, Unit: m.Unit, Type: m.Type, Series: m.Series}
	}), ""), err
}

func (s *Server) series(ctx context.Context, in *seriesInput) (*body[seriesBody], error) {
	q, err := s.seriesQuery(ctx, in)
	if err != nil {
		return nil, err
	}
	res, err := s.cfg.Telemetry.Series(ctx, q)
	if err != nil {
		return nil, err
	}
	if in.Plugin != "" {
		nodes, err := s.cfg.Catalogue.PageNodes(ctx, in.Plugin, in.Metric)
		if err != nil {
			return nil, err
		}
		res.Series = slices.DeleteFunc(res.Series, func(l store.SeriesLine) bool { return !nodes[l.Agent] })
	}
	out := seriesBody{Metric: in.Metric, Unit: res.Unit, Type: res.Type, StepSeconds: res.Step.Seconds(), Truncated: res.Truncated}
	out.Series = convert(res.Series, func(l store.SeriesLine) lineBody {
		if l.Labels == nil {
			l.Labels = map[string]string{}
		}
		return lineBody{Agent: l.Agent, Labels: l.Labels, Points: convert(l.Points, pointOf)}
	})
	return answer(out), nil
}

func pointOf(p store.Point) point {
	if !p.Valid {
		return point{p.Time.UnixMilli(), nil}
	}
	return point{p.Time.UnixMilli(), p.Value}
}

func (s *Server) seriesQuery(ctx context.Context, in *seriesInput) (store.SeriesQuery, error) {
	q := store.SeriesQuery{Tenant: caller(ctx).Tenant, Metric: in.Metric, Agent: in.Agent, From: in.From, To: in.To,
		Agg: store.Agg(in.Agg), Rate: in.Rate}
	var err error
	if q.Labels, err = parseLabels(in.Labels); err != nil {
		return q, err
	}
	if name, ok := q.Labels["agent"]; ok && q.Agent == "" { // the agent is part of a series' identity, but no label of it
		q.Agent = name
		delete(q.Labels, "agent")
	}
	if q.Step, err = step(in.Step); err != nil {
		return q, err
	}
	if q.To.IsZero() {
		q.To = s.cfg.Now()
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-time.Hour)
	}
	if !q.From.Before(q.To) {
		return q, invalidField("query.from", "must be before to")
	}
	return q, nil
}

// step takes a time span, or seconds as Prometheus clients write them.
func step(text string) (time.Duration, error) {
	if text != "" && strings.Trim(text, "0123456789.") == "" {
		text += "s"
	}
	return duration("query.step", text)
}

func parseLabels(text string) (map[string]string, error) {
	if text == "" {
		return nil, nil
	}
	out := map[string]string{}
	for _, pair := range strings.Split(text, ",") {
		k, v, ok := strings.Cut(pair, "=")
		if !ok || k == "" {
			return nil, invalidField("query.labels", "must have the form k=v,k2=v2")
		}
		out[k] = v
	}
	return out, nil
}

func (s *Server) ingest(ctx context.Context, in *samplesInput) (*body[samplesBody], error) {
	from, b := sender(ctx), in.Body
	if b.Epoch == "" {
		return nil, invalidField("body.epoch", "must not be empty")
	}
	res, err := s.cfg.Telemetry.Append(ctx, store.SampleBatch{Tenant: from.Tenant, Agent: from.ID, Epoch: b.Epoch, Seq: b.Seq, Samples: b.Samples})
	if err != nil {
		return nil, err
	}
	return s.appended(from, res, namesOf(b.Samples)), nil
}

// liveSamples tells watchers which charts have something new; they ask for the values themselves.
type liveSamples struct {
	Agent   string   `json:"agent"`
	Metrics []string `json:"metrics"`
}

func namesOf(samples []sdk.Sample) []string {
	names := map[string]bool{}
	for _, s := range samples {
		names[s.Metric] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func (s *Server) sightings(ctx context.Context, in *sightingsInput) (*body[samplesBody], error) {
	from, b := sender(ctx), in.Body
	if b.Epoch == "" {
		return nil, invalidField("body.epoch", "must not be empty")
	}
	err := s.cfg.Inventory.Sightings(ctx, store.SightingBatch{Tenant: from.Tenant, Agent: from.ID, Epoch: b.Epoch, Seq: b.Seq, Sightings: b.Sightings})
	if err != nil {
		return nil, err
	}
	return answer(samplesBody{Accepted: len(b.Sightings), StoredThrough: b.Seq}), nil
}
