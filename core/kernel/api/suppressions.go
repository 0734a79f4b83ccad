package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
	"github.com/picketwatch/picket/sdk"
)

// maxSuppression is how far off the end of a suppression may be: what is never looked at again is forgotten.
const maxSuppression = 366 * 24 * time.Hour

type suppressionBody struct {
	ID       string     `json:"id"`
	Detector string     `json:"detector,omitempty"`
	Rule     string     `json:"rule,omitempty"`
	Entity   string     `json:"entity,omitempty" doc:"A host or a network on either side."`
	Source   string     `json:"source,omitempty" doc:"A host or a network that acts."`
	Target   string     `json:"target,omitempty" doc:"A host or a network that is acted on."`
	Reason   string     `json:"reason"`
	By       string     `json:"by"`
	Active   bool       `json:"active" doc:"It has not expired."`
	Hits     int        `json:"hits" doc:"How many findings it kept back."`
	LastHit  *time.Time `json:"last_hit,omitempty"`
	Expires  time.Time  `json:"expires"`
	Created  time.Time  `json:"created"`
}

type suppressedBody struct {
	CaptureID string      `json:"capture_id,omitempty"`
	Agent     string      `json:"agent,omitempty"`
	Finding   sdk.Finding `json:"finding"`
	Time      time.Time   `json:"time" doc:"When it was kept back."`
}

func (s *Server) suppressionOf(x store.Suppression) suppressionBody {
	return suppressionBody{ID: x.ID, Detector: x.Detector, Rule: x.Rule, Entity: x.Entity, Source: x.Source, Target: x.Target, Reason: x.Reason, By: x.By, Hits: x.Hits,
		Active: s.cfg.Now().Before(x.Expires), LastHit: when(x.LastHit), Expires: x.Expires.UTC(), Created: x.Created.UTC()}
}

func (s *Server) suppressionRoutes() {
	const path = "/api/v1/suppressions"
	tags := []string{"suppressions"}
	handle(s, huma.Operation{OperationID: "list-suppressions", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "What is kept from becoming alerts, also what has expired, newest first"},
		func(ctx context.Context, _ *struct{}) (*body[page[suppressionBody]], error) {
			l, err := s.cfg.Control.ListSuppressions(ctx, caller(ctx).Tenant)
			return answerPage(convert(l, s.suppressionOf), ""), err
		})
	handle(s, huma.Operation{OperationID: "suppress", Method: http.MethodPost, Path: path, Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Keep findings from becoming alerts for a while; they are counted and listed all the same"}, s.suppress)
	handle(s, huma.Operation{OperationID: "preview-suppression", Method: http.MethodPost, Path: path + "/preview", Tags: tags,
		Summary: "What it would have kept back of the last 30 days"}, s.previewSuppression)
	handle(s, huma.Operation{OperationID: "list-warning-lists", Method: http.MethodGet, Path: "/api/v1/warninglists", Tags: tags,
		Summary: "Lists of well-known harmless hosts, which lower the risk of what names them"}, s.listWarningLists)
	handle(s, huma.Operation{OperationID: "change-suppression", Method: http.MethodPut, Path: path + "/{id}", Tags: tags,
		Summary: "Give it another end and reason"}, s.changeSuppression)
	handle(s, huma.Operation{OperationID: "delete-suppression", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "End it and forget what it kept back"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			err := s.cfg.Control.DeleteSuppression(ctx, caller(ctx).Tenant, in.ID)
			s.act(ctx, "suppression.delete", "suppression:"+in.ID, "", err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "list-suppressed", Method: http.MethodGet, Path: path + "/{id}/findings", Tags: tags,
		Summary: "The findings that it kept back, the newest"},
		func(ctx context.Context, in *IDPath) (*body[page[suppressedBody]], error) {
			l, err := s.cfg.Control.SuppressedFindings(ctx, caller(ctx).Tenant, in.ID, maxFindings)
			return answerPage(convert(l, func(f store.Finding) suppressedBody {
				return suppressedBody{CaptureID: f.CaptureID, Agent: f.Agent, Finding: tidy(f.Finding), Time: f.Created.UTC()}
			}), ""), err
		})
}

// SuppressionTerms are why and how long.
type SuppressionTerms struct {
	Reason  string    `json:"reason" minLength:"3" maxLength:"500"`
	Expires time.Time `json:"expires" doc:"At most a year from now."`
}

func (t SuppressionTerms) check(now time.Time) error {
	if strings.TrimSpace(t.Reason) == "" {
		return invalidField("body.reason", "say why")
	}
	if !t.Expires.After(now) || t.Expires.After(now.Add(maxSuppression)) {
		return invalidField("body.expires", "it must end within a year from now")
	}
	return nil
}

// SuppressionScope is what a suppression is about. What is left out matches everything.
type SuppressionScope struct {
	Detector string `json:"detector,omitempty" maxLength:"200" doc:"namespace/name; without it: all."`
	Rule     string `json:"rule,omitempty" maxLength:"200" doc:"Without it: all rules."`
	Entity   string `json:"entity,omitempty" maxLength:"200" doc:"A host, or a network such as 10.1.0.0/16, on either side; without it: all."`
	Source   string `json:"source,omitempty" maxLength:"200" doc:"A host or network that acts."`
	Target   string `json:"target,omitempty" maxLength:"200" doc:"A host or network that is acted on."`
}

func (b SuppressionScope) suppression() (x store.Suppression, err error) {
	if b == (SuppressionScope{}) {
		return x, invalidField("body.detector", "name a detector, a rule or a host: everything is not kept back")
	}
	x.Detector, x.Rule = b.Detector, b.Rule
	for _, side := range []struct {
		name, said string
		into       *string
	}{{"entity", b.Entity, &x.Entity}, {"source", b.Source, &x.Source}, {"target", b.Target, &x.Target}} {
		*side.into = side.said
		if strings.Contains(side.said, "/") {
			network, err := netip.ParsePrefix(side.said)
			if err != nil {
				return x, invalidField("body."+side.name, "this is no network; one is written 10.1.0.0/16")
			}
			*side.into = network.Masked().String()
		}
	}
	return x, nil
}

type suppressInput struct {
	Body struct {
		SuppressionTerms
		SuppressionScope
	}
}

func (s *Server) suppress(ctx context.Context, in *suppressInput) (*body[suppressionBody], error) {
	if err := in.Body.check(s.cfg.Now()); err != nil {
		return nil, err
	}
	x, err := in.Body.suppression()
	if err != nil {
		return nil, err
	}
	id := caller(ctx)
	x.Tenant, x.By, x.Reason, x.Expires = id.Tenant, id.Actor(), in.Body.Reason, in.Body.Expires
	x, err = s.cfg.Control.AddSuppression(ctx, x)
	s.act(ctx, "suppression.add", "suppression:"+x.ID, fmt.Sprintf("detector %q, rule %q, entity %q, source %q, target %q until %s: %s",
		x.Detector, x.Rule, x.Entity, x.Source, x.Target, x.Expires.UTC().Format(time.RFC3339), x.Reason), err)
	if err != nil {
		return nil, err
	}
	return answer(s.suppressionOf(x)), nil
}

// How far a preview looks back, and how much of it.
const (
	previewTime     = 30 * 24 * time.Hour
	previewAlerts   = 5000
	previewExamples = 5
)

type suppressionPreview struct {
	Alerts   int         `json:"alerts" doc:"Alerts that would not have been, of those that were looked at."`
	Findings int         `json:"findings" doc:"Findings that these alerts count."`
	Of       int         `json:"of" doc:"How many alerts were looked at: the newest 5000 of the last 30 days."`
	Examples []alertBody `json:"examples" nullable:"false" doc:"The newest of them."`
}

func (s *Server) previewSuppression(ctx context.Context, in *struct{ Body SuppressionScope }) (*body[suppressionPreview], error) {
	x, err := in.Body.suppression()
	if err != nil {
		return nil, err
	}
	seen, err := s.cfg.Control.AlertsSeenSince(ctx, caller(ctx).Tenant, s.cfg.Now().Add(-previewTime), previewAlerts)
	if err != nil {
		return nil, err
	}
	covered := s.cfg.Alerts.Covered(seen, x)
	p := suppressionPreview{Alerts: len(covered), Of: len(seen), Examples: convert(covered[:min(len(covered), previewExamples)], alertOf)}
	for _, a := range covered {
		p.Findings += a.Count
	}
	return answer(p), nil
}

type warningListBody struct {
	Name        string `json:"name" doc:"Of the list, or of the file of one that was refused."`
	Description string `json:"description,omitempty"`
	Type        string `json:"type,omitempty"`
	Entries     int    `json:"entries"`
	Refused     string `json:"refused,omitempty" doc:"Why it is not used."`
}

func (s *Server) listWarningLists(context.Context, *struct{}) (*body[page[warningListBody]], error) {
	return answerPage(convert(s.cfg.WarningLists(), func(l WarningList) warningListBody { return warningListBody(l) }), ""), nil
}

func (s *Server) changeSuppression(ctx context.Context, in *struct {
	IDPath
	Body SuppressionTerms
}) (*body[suppressionBody], error) {
	if err := in.Body.check(s.cfg.Now()); err != nil {
		return nil, err
	}
	x, err := s.cfg.Control.ChangeSuppression(ctx, caller(ctx).Tenant, in.ID, in.Body.Reason, in.Body.Expires)
	s.act(ctx, "suppression.change", "suppression:"+in.ID, "until "+in.Body.Expires.UTC().Format(time.RFC3339)+": "+in.Body.Reason, err)
	if err != nil {
		return nil, err
	}
	return answer(s.suppressionOf(x)), nil
}
