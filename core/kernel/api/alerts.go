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

// What the page of one alert shows at most; there may be more in the store.
const (
	maxFindings = 100
	maxEvidence = 1000
)

type alertBody struct {
	ID         string       `json:"id"`
	State      string       `json:"state" enum:"firing,acknowledged,resolved"`
	Severity   sdk.Severity `json:"severity" enum:"info,low,medium,high,critical"`
	Risk       int          `json:"risk" minimum:"0" maximum:"100"`
	Confidence float64      `json:"confidence" minimum:"0" maximum:"1"`
	Title      string       `json:"title"`
	Detector   string       `json:"detector"`
	Rule       string       `json:"rule"`
	Techniques []string     `json:"techniques" nullable:"false" doc:"ATT&CK ids."`
	Src        string       `json:"src"`
	Dst        string       `json:"dst"`
	FirstSeen  time.Time    `json:"first_seen"`
	LastSeen   time.Time    `json:"last_seen"`
	Count      int          `json:"count" doc:"How many findings were merged into it."`
	CaptureID  string       `json:"capture_id,omitempty"`
	Agent      string       `json:"agent,omitempty" doc:"The id of the agent in whose live traffic it was seen first."`
	AckBy      string       `json:"acknowledged_by,omitempty"`
}

// evidenceBody is what findings of one capture or one run of an agent's live traffic rest on: numbers of packets and ids of flows say
// nothing without it.
type evidenceBody struct {
	CaptureID string             `json:"capture_id,omitempty"`
	Agent     string             `json:"agent,omitempty" doc:"The id of the agent in whose live traffic it was seen."`
	Run       string             `json:"run,omitempty" doc:"Of the agent's capture: packets and flows are numbered within it."`
	Interface string             `json:"interface,omitempty" doc:"Of the agent."`
	Packets   []uint64           `json:"packets" nullable:"false" doc:"Numbers in the capture, from 1."`
	Flows     []evidenceFlow     `json:"flows" nullable:"false"`
	Kept      []keptEvidenceBody `json:"kept" nullable:"false" doc:"Of live traffic: what the server has of the packets, by finding. One without an entry may still be on its way."`
}

type noticeBody struct {
	ID        string       `json:"id"`
	Notifier  string       `json:"notifier"`
	Event     string       `json:"event"`
	State     string       `json:"state" enum:"queued,delivered,failed,dead"`
	Attempts  int          `json:"attempts"`
	LastError string       `json:"last_error,omitempty"`
	Receipt   *sdk.Receipt `json:"receipt,omitempty"`
	Time      time.Time    `json:"time"`
	Due       *time.Time   `json:"due,omitempty" doc:"When it is tried again."`
	Outcome   string       `json:"outcome,omitempty" enum:"open,closed,undone,none" doc:"What became of it on the other side; none: that is not followed."`
	Words     string       `json:"outcome_text,omitempty" doc:"What the other side calls it, or why it is not known."`
}

type alertDetail struct {
	alertBody
	Findings       []sdk.Finding  `json:"findings" nullable:"false"`
	Evidence       []evidenceBody `json:"evidence" nullable:"false" doc:"By where it was seen."`
	Notices        []noticeBody   `json:"notices" nullable:"false"`
	RulePurpose    string         `json:"rule_purpose"`
	FalsePositives []string       `json:"false_positives" nullable:"false" doc:"Known benign causes."`
	Incident       string         `json:"incident_id,omitempty" doc:"The incident that it belongs to."`
	Feedback       []feedbackBody `json:"feedback" nullable:"false" doc:"How people judged it, newest first."`
}

func alertOf(a store.Alert) alertBody {
	return alertBody{ID: a.ID, State: a.State, Severity: a.Severity, Risk: a.Risk, Confidence: a.Confidence, Title: a.Title,
		Detector: a.Detector, Rule: a.Rule, Techniques: list(a.Techniques), Src: a.Src, Dst: a.Dst, FirstSeen: a.FirstSeen.UTC(),
		LastSeen: a.LastSeen.UTC(), Count: a.Count, CaptureID: a.CaptureID, Agent: a.Agent, AckBy: a.AcknowledgedBy}
}

func noticeOf(n store.Notice) noticeBody {
	b := noticeBody{ID: n.ID, Notifier: n.Notifier, Event: n.Payload.Event, State: n.State, Attempts: n.Attempts,
		LastError: n.LastError, Receipt: n.Receipt, Time: n.Updated.UTC(), Outcome: n.Outcome, Words: n.OutcomeText}
	if n.State == store.NoticeQueued || n.State == store.NoticeFailed {
		b.Due = when(n.Due)
	}
	return b
}

func (s *Server) alertRoutes() {
	tags := []string{"alerts"}
	handle(s, huma.Operation{OperationID: "list-alerts", Method: http.MethodGet, Path: "/api/v1/alerts", Tags: tags,
		Summary: "Alerts, newest first"}, s.listAlerts)
	handle(s, huma.Operation{OperationID: "count-techniques", Method: http.MethodGet, Path: "/api/v1/alerts/techniques", Tags: tags,
		Summary: "How many alerts name each ATT&CK technique"}, s.countTechniques)
	handle(s, huma.Operation{OperationID: "get-alert", Method: http.MethodGet, Path: "/api/v1/alerts/{id}", Tags: tags,
		Summary: "An alert with its evidence and who was told"}, s.getAlert)
	handle(s, huma.Operation{OperationID: "acknowledge-alert", Method: http.MethodPost, Path: "/api/v1/alerts/{id}/acknowledge", Tags: tags,
		Summary: "Say that you look after it"}, s.moveAlert("alert.acknowledge", func(ctx context.Context, id, by string) (store.Alert, error) {
		return s.cfg.Alerts.Acknowledge(ctx, caller(ctx).Tenant, id, by)
	}))
	handle(s, huma.Operation{OperationID: "resolve-alert", Method: http.MethodPost, Path: "/api/v1/alerts/{id}/resolve", Tags: tags,
		Summary: "End it"}, s.moveAlert("alert.resolve", func(ctx context.Context, id, by string) (store.Alert, error) {
		return s.cfg.Alerts.Resolve(ctx, caller(ctx).Tenant, id, by)
	}))
	handle(s, huma.Operation{OperationID: "undo-alert", Method: http.MethodPost, Path: "/api/v1/alerts/{id}/undo", Tags: tags,
		Summary: "Take back what notifiers did about it"}, s.undoAlert)
	s.keptRoutes(tags)
}

type undoInput struct {
	IDPath
	Body struct {
		Notice string `json:"notice,omitempty" maxLength:"64" doc:"One delivery; without it, all that can be undone."`
	}
}

type undoneBody struct {
	Undone []string `json:"undone" nullable:"false" doc:"The deliveries that were taken back."`
}

func (s *Server) undoAlert(ctx context.Context, in *undoInput) (*body[undoneBody], error) {
	undone, err := s.cfg.Alerts.Undo(ctx, caller(ctx).Tenant, in.ID, in.Body.Notice)
	s.act(ctx, "alert.undo", "alert:"+in.ID, "deliveries "+strings.Join(undone, " "), err)
	if err != nil {
		return nil, err
	}
	return answer(undoneBody{Undone: list(undone)}), nil
}

func (s *Server) listAlerts(ctx context.Context, in *struct {
	PageQuery
	State     string    `query:"state" enum:"firing,acknowledged,resolved"`
	Severity  string    `query:"severity" enum:"info,low,medium,high,critical"`
	Capture   string    `query:"capture" maxLength:"64"`
	Detector  string    `query:"detector" maxLength:"128"`
	Technique string    `query:"technique" maxLength:"16" doc:"An ATT&CK id; those below it count, too."`
	Entity    string    `query:"entity" maxLength:"256" doc:"An address or a name at either end."`
	From      time.Time `query:"from" doc:"RFC 3339; seen or found then or later."`
}) (*body[page[alertBody]], error) {
	f := store.AlertFilter{State: in.State, Severity: in.Severity, CaptureID: in.Capture, Detector: in.Detector,
		Technique: in.Technique, Entity: in.Entity, From: in.From}
	l, next, err := s.cfg.Control.ListAlerts(ctx, caller(ctx).Tenant, f, in.page())
	return answerPage(convert(l, alertOf), next), err
}

type techniqueBody struct {
	ID     string               `json:"id" doc:"An ATT&CK id."`
	Alerts map[sdk.Severity]int `json:"alerts" doc:"By severity. One that names only a technique below this one counts, too."`

	Incidents int `json:"incidents" doc:"How many incidents such alerts belong to."`
}

func (s *Server) countTechniques(ctx context.Context, in *struct {
	From time.Time `query:"from" doc:"RFC 3339; seen or found then or later."`
}) (*body[page[techniqueBody]], error) {
	counts, err := s.cfg.Control.CountTechniques(ctx, caller(ctx).Tenant, in.From)
	if err != nil {
		return nil, err
	}
	incidents, err := s.cfg.Control.CountIncidentTechniques(ctx, caller(ctx).Tenant, in.From)
	items := []techniqueBody{}
	for _, id := range slices.Sorted(maps.Keys(counts)) {
		items = append(items, techniqueBody{ID: id, Alerts: counts[id], Incidents: incidents[id]})
	}
	return answerPage(items, ""), err
}

func (s *Server) getAlert(ctx context.Context, in *IDPath) (*body[alertDetail], error) {
	tenant := caller(ctx).Tenant
	a, err := s.cfg.Control.AlertByID(ctx, tenant, in.ID)
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Control.AlertFindings(ctx, tenant, a.ID, maxFindings)
	if err != nil {
		return nil, err
	}
	told, err := s.cfg.Control.AlertNotices(ctx, tenant, a.ID)
	if err != nil {
		return nil, err
	}
	d := alertDetail{alertBody: alertOf(a), Notices: convert(told, noticeOf), FalsePositives: []string{}}
	d.Findings = convert(found, func(f store.Finding) sdk.Finding { return tidy(f.Finding) })
	d.Evidence = evidence(found)
	if err := s.complete(ctx, a.ID, d.Evidence, found); err != nil {
		return nil, err
	}
	if d.Incident, err = s.cfg.Control.IncidentOfAlert(ctx, tenant, a.ID); err != nil {
		return nil, err
	}
	judged, err := s.cfg.Control.ListFeedback(ctx, tenant, "", a.ID)
	if err != nil {
		return nil, err
	}
	d.Feedback = convert(judged, feedbackOf)
	if rule, ok := s.cfg.Catalogue.Rule(ctx, a.Detector, a.Rule); ok {
		d.RulePurpose, d.FalsePositives = rule.Purpose, list(rule.FalsePositives)
	}
	return answer(d), nil
}

// tidy leaves no list of a finding null.
func tidy(f sdk.Finding) sdk.Finding {
	f.Techniques, f.Packets, f.Flows = list(f.Techniques), list(f.Packets), list(f.Flows)
	f.Start, f.End = f.Start.UTC(), f.End.UTC()
	return f
}

// evidence gathers what all findings of an alert rest on, each thing once.
func evidence(findings []store.Finding) []evidenceBody {
	type place struct{ capture, agent, run string }
	type thing struct {
		place
		packet uint64
		flow   sdk.FlowRef
	}
	out, at, told := []evidenceBody{}, map[place]int{}, map[thing]bool{}
	fresh := func(t thing) bool {
		known := told[t]
		told[t] = true
		return !known
	}
	packets, flows := 0, 0
	for _, f := range findings {
		p := place{f.CaptureID, f.Agent, f.Run}
		i, known := at[p]
		if !known {
			i = len(out)
			at[p] = i
			out = append(out, evidenceBody{CaptureID: f.CaptureID, Agent: f.Agent, Run: f.Run, Interface: f.Interface, Packets: []uint64{}, Flows: []evidenceFlow{}, Kept: []keptEvidenceBody{}})
		}
		for _, n := range f.Packets {
			if packets < maxEvidence && fresh(thing{place: p, packet: n}) {
				packets++
				out[i].Packets = append(out[i].Packets, n)
			}
		}
		for _, r := range f.Flows {
			if flows < maxEvidence && fresh(thing{place: p, flow: r}) {
				flows++
				out[i].Flows = append(out[i].Flows, evidenceFlow{FlowRef: r, Capture: f.CaptureID})
			}
		}
	}
	for i := range out {
		slices.Sort(out[i].Packets)
	}
	return out
}

func (s *Server) moveAlert(action string, move func(ctx context.Context, id, by string) (store.Alert, error)) func(context.Context, *IDPath) (*body[alertBody], error) {
	return func(ctx context.Context, in *IDPath) (*body[alertBody], error) {
		a, err := move(ctx, in.ID, caller(ctx).Actor())
		s.act(ctx, action, "alert:"+in.ID, "", err)
		if err != nil {
			return nil, err
		}
		return answer(alertOf(a)), nil
	}
}
