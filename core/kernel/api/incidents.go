package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
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
	Owner       string          `json:"owner,omitempty" doc:"Who looks after it: user:NAME or token:NAME."`
	Judged      *incidentJudged `json:"judged,omitempty" doc:"What judgements of people changed; absent when there are none."`
}

type incidentJudged struct {
	Before int `json:"risk_before" doc:"The risk had nobody judged anything."`
	True   int `json:"true" doc:"Alerts that were judged so: those of the incident, and others of the same rules and hosts."`
	False  int `json:"false"`
	Benign int `json:"benign"`
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
	Arithmetic []incidentStep    `json:"arithmetic" nullable:"false" doc:"How risk and confidence come about, line by line."`
	List       []alertBody       `json:"alerts" nullable:"false" doc:"Its alerts, the riskiest 500, in the order they began."`
	Feedback   []feedbackBody    `json:"feedback" nullable:"false" doc:"How people judged it and its alerts, newest first."`
	Notes      []noteBody        `json:"notes" nullable:"false" doc:"What people wrote down, newest first."`
	Accounts   []incidentAccount `json:"accounts" nullable:"false" doc:"The accounts that the logins behind its alerts name."`
}

type incidentAccount struct {
	Name  string   `json:"name" doc:"USER@DOMAIN, and USER@ADDRESS of one that only that server knows."`
	GotIn []string `json:"got_in" nullable:"false" doc:"The ids of the alerts among whose logins with it one was successful."`
	Tried []string `json:"tried" nullable:"false" doc:"Those of the alerts among whose logins with it none was."`
}

// accounts puts together what the alerts of an incident say of each account.
func accounts(list []store.AccountOfAlert) []incidentAccount {
	out := []incidentAccount{}
	for _, x := range list { // by name
		if n := len(out); n == 0 || out[n-1].Name != x.Name {
			out = append(out, incidentAccount{Name: x.Name, GotIn: []string{}, Tried: []string{}})
		}
		a := &out[len(out)-1]
		if x.GotIn {
			a.GotIn = append(a.GotIn, x.AlertID)
		} else {
			a.Tried = append(a.Tried, x.AlertID)
		}
	}
	return out
}

type noteBody struct {
	ID   string    `json:"id"`
	Text string    `json:"text"`
	By   string    `json:"by"`
	Time time.Time `json:"time"`
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
		FirstSeen: i.FirstSeen.UTC(), LastSeen: i.LastSeen.UTC(), Alerts: i.Alerts, EntityCount: i.EntityCount, Owner: i.Owner}
	b.Entities = convert(i.Entities, func(e store.IncidentEntity) incidentHost { return incidentHost(e) })
	b.Stages = convert(i.Stages, func(s store.IncidentStage) incidentStage {
		return incidentStage{Tactic: s.Tactic, Name: s.Name,
			Techniques: convert(s.Techniques, func(t store.IncidentTechnique) incidentTechnique { return incidentTechnique(t) })}
	})
	if j := i.Judged; j.Any() {
		b.Judged = &incidentJudged{Before: j.Before, True: j.True, False: j.False, Benign: j.Benign}
	}
	return b
}

func noteOf(n store.IncidentNote) noteBody {
	return noteBody{ID: n.ID, Text: n.Text, By: n.By, Time: n.Created.UTC()}
}

func feedbackOf(f store.Feedback) feedbackBody {
	return feedbackBody{ID: f.ID, IncidentID: f.IncidentID, AlertID: f.AlertID, Verdict: f.Verdict, Note: f.Note, By: f.By, Time: f.Created.UTC()}
}

func (s *Server) incidentRoutes() {
	const path = "/api/v1/incidents"
	tags := []string{"incidents"}
	handle(s, huma.Operation{OperationID: "list-incidents", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Incidents, newest first unless sorted"}, s.listIncidents)
	handle(s, huma.Operation{OperationID: "list-incident-owners", Method: http.MethodGet, Path: path + "/owners", Tags: tags,
		Summary: "Who may look after an incident"}, s.incidentOwners)
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
	handle(s, huma.Operation{OperationID: "assign-incident", Method: http.MethodPost, Path: path + "/{id}/assign", Tags: tags,
		Summary: "Say who looks after it; without an owner it is open"}, s.assignIncident)
	handle(s, huma.Operation{OperationID: "note-incident", Method: http.MethodPost, Path: path + "/{id}/notes", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Write something down about it"}, s.noteIncident)
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
			f, err := s.cfg.Incidents.TakeBack(ctx, caller(ctx).Tenant, in.ID)
			s.act(ctx, "feedback.delete", "feedback:"+in.ID, "verdict "+f.Verdict+" of "+f.By+" on incident "+f.IncidentID+" alert "+f.AlertID, err)
			return nil, err
		})
}

func (s *Server) listIncidents(ctx context.Context, in *struct {
	PageQuery
	State     string    `query:"state" enum:"open,acknowledged,closed"`
	Severity  string    `query:"severity" enum:"info,low,medium,high,critical"`
	Host      string    `query:"host" maxLength:"200" doc:"An address or name that takes part."`
	Technique string    `query:"technique" maxLength:"16" doc:"An ATT&CK id; those below it count, too."`
	From      time.Time `query:"from" doc:"RFC 3339; seen then or later."`
	Sort      string    `query:"sort" enum:"latest,risk" doc:"Without it the newest come first."`
}) (*body[page[incidentBody]], error) {
	f := store.IncidentFilter{State: in.State, Severity: in.Severity, Host: in.Host, Technique: in.Technique, From: in.From, Sort: store.IncidentSort(in.Sort)}
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
	notes, err := s.cfg.Control.IncidentNotes(ctx, tenant, i.ID)
	if err != nil {
		return nil, err
	}
	named, err := s.cfg.Control.IncidentAccounts(ctx, tenant, i.ID)
	if err != nil {
		return nil, err
	}
	return answer(incidentDetail{incidentBody: incidentOf(i), Accounts: accounts(named), List: convert(alerts, alertOf), Feedback: convert(judged, feedbackOf), Notes: convert(notes, noteOf),
		Arithmetic: convert(i.Arithmetic, func(x store.IncidentStep) incidentStep { return incidentStep(x) })}), nil
}

func (s *Server) moveIncident(action, state string) func(context.Context, *IDPath) (*body[incidentBody], error) {
	return func(ctx context.Context, in *IDPath) (*body[incidentBody], error) {
		i, err := s.cfg.Incidents.Move(ctx, caller(ctx).Tenant, in.ID, state, caller(ctx).Actor())
		s.act(ctx, action, "incident:"+in.ID, "", err)
		if err != nil {
			return nil, err
		}
		return answer(incidentOf(i)), nil
	}
}

type ownerBody struct {
	Name string `json:"name" doc:"As assign takes it."`
	Role string `json:"role"`
}

// owners are the people who may look after an incident.
func (s *Server) owners(ctx context.Context) ([]ownerBody, error) {
	users, err := s.cfg.Control.ListUsers(ctx, caller(ctx).Tenant)
	if err != nil {
		return nil, err
	}
	list := []ownerBody{}
	for _, u := range users {
		if !u.Disabled && auth.RoleMay(u.Role, auth.AlertsWrite) {
			list = append(list, ownerBody{u.Username, u.Role})
		}
	}
	return list, nil
}

func (s *Server) incidentOwners(ctx context.Context, _ *struct{}) (*body[page[ownerBody]], error) {
	list, err := s.owners(ctx)
	return answerPage(list, ""), err
}

func (s *Server) assignIncident(ctx context.Context, in *struct {
	IDPath
	Body struct {
		Owner string `json:"owner" maxLength:"128" doc:"The name of a user; empty: nobody."`
	}
}) (*body[incidentBody], error) {
	owner := in.Body.Owner
	if owner != "" {
		list, err := s.owners(ctx)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(list, func(o ownerBody) bool { return o.Name == owner }) {
			return nil, invalidField("body.owner", "nobody of that name can look after an incident")
		}
		owner = auth.Identity{Name: owner}.Actor()
	}
	i, err := s.cfg.Incidents.Assign(ctx, caller(ctx).Tenant, in.ID, owner)
	s.act(ctx, "incident.assign", "incident:"+in.ID, "to "+cmp.Or(owner, "nobody"), err)
	if err != nil {
		return nil, err
	}
	return answer(incidentOf(i)), nil
}

func (s *Server) noteIncident(ctx context.Context, in *struct {
	IDPath
	Body struct {
		Text string `json:"text" minLength:"1" maxLength:"5000"`
	}
}) (*body[noteBody], error) {
	if strings.TrimSpace(in.Body.Text) == "" {
		return nil, invalidField("body.text", "write something")
	}
	id := caller(ctx)
	i, err := s.cfg.Control.IncidentByID(ctx, id.Tenant, in.ID)
	if err != nil {
		return nil, err
	}
	n, err := s.cfg.Control.AddIncidentNote(ctx, store.IncidentNote{Tenant: id.Tenant, IncidentID: i.ID, Text: in.Body.Text, By: id.Actor()})
	s.act(ctx, "incident.note", "incident:"+i.ID, "", err)
	if err != nil {
		return nil, err
	}
	s.cfg.Live.Publish(id.Tenant, "incidents", map[string]string{"id": i.ID, "state": i.State})
	return answer(noteOf(n)), nil
}

type judgeInput struct {
	IDPath
	Body struct {
		Verdict string `json:"verdict" enum:"true,false,benign" doc:"true: an attack; false: nothing of the kind happened; benign: it happened and is allowed."`
		Note    string `json:"note,omitempty" maxLength:"2000"`
	}
}

func (s *Server) judge(ctx context.Context, what string, in *judgeInput, f store.Feedback) (*body[feedbackBody], error) {
	f.Tenant, f.Verdict, f.Note, f.By = caller(ctx).Tenant, in.Body.Verdict, in.Body.Note, caller(ctx).Actor()
	f, err := s.cfg.Incidents.Judge(ctx, f)
	s.act(ctx, what+".judge", what+":"+in.ID, "verdict "+in.Body.Verdict, err)
	if err != nil {
		return nil, err
	}
	return answer(feedbackOf(f)), nil
}
