package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// maxIncidentAlerts is what the page of one incident shows at most: the riskiest.
const maxIncidentAlerts = 500

type incidentBody struct {
	ID          string          `json:"id"`
	State       string          `json:"state" enum:"open,acknowledged,closed"`
	Title       string          `json:"title" doc:"Who did what to whom."`
	Severity    sdk.Severity    `json:"severity" enum:"info,low,medium,high,critical"`
	Risk        int             `json:"risk" minimum:"0" maximum:"100"`
	Confidence  float64         `json:"confidence" minimum:"0" maximum:"1"`
	FirstSeen   time.Time       `json:"first_seen"`
	LastSeen    time.Time       `json:"last_seen"`
	Alerts      int             `json:"alert_count" doc:"How many alerts belong to it."`
	Entities    []incidentHost  `json:"entities" nullable:"false" doc:"The hosts that take part, those that act first."`
	EntityCount int             `json:"entity_count" doc:"How many hosts take part; entities are the first of them."`
	Stages      []incidentStage `json:"stages" nullable:"false" doc:"ATT&CK tactics with their techniques, in the order of the kill chain."`
	AckBy       string          `json:"acknowledged_by,omitempty"`
}

type incidentHost struct {
	Host   string `json:"host"`
	Role   string `json:"role" enum:"attacker,target,pivot" doc:"A pivot is a target that then attacked."`
	Device string `json:"device,omitempty" doc:"Its id in the inventory."`
	Alerts int    `json:"alerts" doc:"How many alerts name it."`
}

type incidentStage struct {
	Tactic     string              `json:"tactic" doc:"ATT&CK id."`
	Name       string              `json:"name"`
	Techniques []incidentTechnique `json:"techniques" nullable:"false"`
}

type incidentTechnique struct {
	ID   string `json:"id" doc:"ATT&CK id."`
	Name string `json:"name"`
}

type incidentStep struct {
	Of    string  `json:"of" enum:"risk,confidence"`
	Value float64 `json:"value" doc:"Of this part, or what it comes to so far."`
	Why   string  `json:"why"`
}

type incidentDetail struct {
	incidentBody
	Arithmetic []incidentStep `json:"arithmetic" nullable:"false" doc:"How risk and confidence come about, line by line."`
	List       []alertBody    `json:"alerts" nullable:"false" doc:"Its alerts, the riskiest 500, in the order they began."`
	Feedback   []feedbackBody `json:"feedback" nullable:"false" doc:"How people judged it and its alerts, newest first."`
}

type feedbackBody struct {
	ID         string    `json:"id"`
	IncidentID string    `json:"incident_id,omitempty"`
	AlertID    string    `json:"alert_id,omitempty" doc:"Absent: the incident as a whole was judged, with the alerts that it had then."`
	Verdict    string    `json:"verdict" enum:"true,false,benign"`
	Note       string    `json:"note"`
	By         string    `json:"by"`
	Time       time.Time `json:"time"`
}

func incidentOf(i store.Incident) incidentBody {
	b := incidentBody{ID: i.ID, State: i.State, Title: i.Title, Severity: i.Severity, Risk: i.Risk, Confidence: i.Confidence,
		FirstSeen: i.FirstSeen.UTC(), LastSeen: i.LastSeen.UTC(), Alerts: i.Alerts, EntityCount: i.EntityCount, AckBy: i.AcknowledgedBy}
	b.Entities = convert(i.Entities, func(e store.IncidentEntity) incidentHost { return incidentHost(e) })
	b.Stages = convert(i.Stages, func(s store.IncidentStage) incidentStage {
		return incidentStage{Tactic: s.Tactic, Name: s.Name,
			Techniques: convert(s.Techniques, func(t store.IncidentTechnique) incidentTechnique { return incidentTechnique(t) })}
	})
	return b
}

func feedbackOf(f store.Feedback) feedbackBody {
	return feedbackBody{ID: f.ID, IncidentID: f.IncidentID, AlertID: f.AlertID, Verdict: f.Verdict, Note: f.Note, By: f.By, Time: f.Created.UTC()}
}

func (s *Server) incidentRoutes() {
	const path = "/api/v1/incidents"
	tags := []string{"incidents"}
	handle(s, huma.Operation{OperationID: "list-incidents", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Incidents, newest first"}, s.listIncidents)
	handle(s, huma.Operation{OperationID: "get-incident", Method: http.MethodGet, Path: path + "/{id}", Tags: tags,
		Summary:     "An incident with its alerts and its arithmetic",
		Description: "One that turned out to be part of an older one is answered with the older one, under its id."}, s.getIncident)
	for _, m := range []struct{ verb, state, summary string }{
		{"acknowledge", store.IncidentAcknowledged, "Say that you look after it"},
		{"close", store.IncidentClosed, "Say that it is over; a further alert opens it again"},
		{"reopen", store.IncidentOpen, "Open it again"},
	} {
		handle(s, huma.Operation{OperationID: m.verb + "-incident", Method: http.MethodPost, Path: path + "/{id}/" + m.verb, Tags: tags,
			Summary: m.summary}, s.moveIncident("incident."+m.verb, m.state))
	}
	handle(s, huma.Operation{OperationID: "judge-incident", Method: http.MethodPost, Path: path + "/{id}/feedback", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Judge an incident and the alerts that it has now"},
		func(ctx context.Context, in *judgeInput) (*body[feedbackBody], error) {
			return s.judge(ctx, "incident", in, store.Feedback{IncidentID: in.ID})
		})
	handle(s, huma.Operation{OperationID: "judge-alert", Method: http.MethodPost, Path: "/api/v1/alerts/{id}/feedback", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Judge an alert"},
		func(ctx context.Context, in *judgeInput) (*body[feedbackBody], error) {
			return s.judge(ctx, "alert", in, store.Feedback{AlertID: in.ID})
		})
	handle(s, huma.Operation{OperationID: "take-feedback-back", Method: http.MethodDelete, Path: "/api/v1/feedback/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Take a judgement back"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			f, err := s.cfg.Incidents.TakeBack(ctx, in.ID)
			s.act(ctx, "feedback.delete", "feedback:"+in.ID, "verdict "+f.Verdict+" of "+f.By+" on incident "+f.IncidentID+" alert "+f.AlertID, err)
			return nil, err
		})
}

func (s *Server) listIncidents(ctx context.Context, in *struct {
	PageQuery
	State    string `query:"state" enum:"open,acknowledged,closed"`
	Severity string `query:"severity" enum:"info,low,medium,high,critical"`
	Host     string `query:"host" maxLength:"200" doc:"An address or name that takes part."`
}) (*body[page[incidentBody]], error) {
	f := store.IncidentFilter{State: in.State, Severity: in.Severity, Host: in.Host}
	l, next, err := s.cfg.Control.ListIncidents(ctx, caller(ctx).Tenant, f, in.page())
	return answerPage(convert(l, incidentOf), next), err
}

func (s *Server) getIncident(ctx context.Context, in *IDPath) (*body[incidentDetail], error) {
	tenant := caller(ctx).Tenant
	i, err := s.cfg.Control.IncidentByID(ctx, tenant, in.ID)
	if err != nil {
		return nil, err
	}
	alerts, err := s.cfg.Control.IncidentAlerts(ctx, tenant, i.ID, maxIncidentAlerts)
	if err != nil {
		return nil, err
	}
	judged, err := s.cfg.Control.ListFeedback(ctx, tenant, i.ID, "")
	if err != nil {
		return nil, err
	}
	return answer(incidentDetail{incidentBody: incidentOf(i), List: convert(alerts, alertOf), Feedback: convert(judged, feedbackOf),
		Arithmetic: convert(i.Arithmetic, func(x store.IncidentStep) incidentStep { return incidentStep(x) })}), nil
}

func (s *Server) moveIncident(action, state string) func(context.Context, *IDPath) (*body[incidentBody], error) {
	return func(ctx context.Context, in *IDPath) (*body[incidentBody], error) {
		i, err := s.cfg.Incidents.Move(ctx, in.ID, state, caller(ctx).Actor())
		s.act(ctx, action, "incident:"+in.ID, "", err)
		if err != nil {
			return nil, err
		}
		return answer(incidentOf(i)), nil
	}
}

type judgeInput struct {
	IDPath
	Body struct {
		Verdict string `json:"verdict" enum:"true,false,benign" doc:"true: an attack; false: nothing of the kind happened; benign: it happened and is allowed."`
		Note    string `json:"note,omitempty" maxLength:"2000"`
	}
}

func (s *Server) judge(ctx context.Context, what string, in *judgeInput, f store.Feedback) (*body[feedbackBody], error) {
	f.Verdict, f.Note, f.By = in.Body.Verdict, in.Body.Note, caller(ctx).Actor()
	f, err := s.cfg.Incidents.Judge(ctx, f)
	s.act(ctx, what+".judge", what+":"+in.ID, "verdict "+in.Body.Verdict, err)
	if err != nil {
		return nil, err
	}
	return answer(feedbackOf(f)), nil
}
