package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type enrolmentBody struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	State   string            `json:"state" enum:"open,used,expired,revoked"`
	Uses    int               `json:"uses"`
	MaxUses int               `json:"max_uses"`
	Labels  map[string]string `json:"labels" doc:"What each machine gets that it lets in."`
	Group   string            `json:"group"`
	By      string            `json:"by"`
	Created time.Time         `json:"created"`
	Expires time.Time         `json:"expires"`
	Used    *time.Time        `json:"used,omitempty" doc:"The last time."`
	Revoked *time.Time        `json:"revoked,omitempty"`
	Revoker string            `json:"revoked_by,omitempty"`
}

type enrolledAgent struct {
	ID      string    `json:"id"`
	Name    string    `json:"name" doc:"As it was called then."`
	Address string    `json:"address"`
	Time    time.Time `json:"time"`
}

// maxShownUses bounds how many uses of a token are listed.
const maxShownUses = 500

func (s *Server) enrolmentOf(t store.EnrolmentToken) enrolmentBody {
	b := enrolmentBody{ID: t.ID, Name: t.Name, State: "open", Uses: t.Uses, MaxUses: t.MaxUses, Labels: t.Labels, Group: t.Group, By: t.CreatedBy,
		Created: t.Created.UTC(), Expires: t.Expires.UTC(), Used: when(t.Used), Revoked: when(t.Revoked), Revoker: t.RevokedBy}
	if b.Group == "" {
		b.Group = store.GroupAll
	}
	if b.Labels == nil {
		b.Labels = map[string]string{}
	}
	switch {
	case b.Revoked != nil:
		b.State = "revoked"
	case t.Uses >= t.MaxUses:
		b.State = "used"
	case !s.cfg.Now().Before(t.Expires):
		b.State = "expired"
	}
	return b
}

func (s *Server) enrolmentRoutes(tags []string) {
	const path = "/api/v1/agents/tokens"
	handle(s, huma.Operation{OperationID: "create-enrolment-token", Method: http.MethodPost, Path: path, Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "A token that lets machines in, and the command to use it"}, s.enrolmentToken)
	handle(s, huma.Operation{OperationID: "list-enrolment-tokens", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Enrolment tokens, newest first; their text is never shown again"},
		func(ctx context.Context, in *PageQuery) (*body[page[enrolmentBody]], error) {
			l, next, err := s.cfg.Control.ListEnrolmentTokens(ctx, caller(ctx).Tenant, in.page())
			return answerPage(convert(l, s.enrolmentOf), next), err
		})
	handle(s, huma.Operation{OperationID: "list-enrolments", Method: http.MethodGet, Path: path + "/{id}/uses", Tags: tags,
		Summary: "The machines that a token let in, newest first"},
		func(ctx context.Context, in *IDPath) (*body[page[enrolledAgent]], error) {
			tenant := caller(ctx).Tenant
			if _, err := s.cfg.Control.EnrolmentTokenByID(ctx, tenant, in.ID); err != nil {
				return nil, err
			}
			l, err := s.cfg.Control.Enrolments(ctx, tenant, in.ID, maxShownUses)
			return answerPage(convert(l, func(e store.Enrolment) enrolledAgent {
				return enrolledAgent{e.AgentID, e.Name, e.Address, e.Time.UTC()}
			}), ""), err
		})
	handle(s, huma.Operation{OperationID: "revoke-enrolment-token", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Keep a token from letting anybody else in; who is in stays"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			id := caller(ctx)
			err := s.cfg.Control.RevokeEnrolmentToken(ctx, id.Tenant, in.ID, id.Actor(), s.cfg.Now())
			s.act(ctx, "agent.token-revoke", "enrolment:"+in.ID, "", err)
			return nil, err
		})
}
