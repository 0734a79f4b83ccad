package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

// quotasBody is how much there is, or may be, of what a tenant has.
type quotasBody struct {
	Users        int64 `json:"users" minimum:"0"`
	Agents       int64 `json:"agents" minimum:"0"`
	Tokens       int64 `json:"tokens" minimum:"0" doc:"API tokens."`
	Series       int64 `json:"series" minimum:"0" doc:"Of metrics."`
	CaptureBytes int64 `json:"capture_bytes" minimum:"0" doc:"Of all captures."`
	Flows        int64 `json:"flows" minimum:"0" doc:"Stored ones."`
}

type tenantBody struct {
	ID        string            `json:"id"`
	Name      string            `json:"name" doc:"People sign in as NAME/user; those of the first tenant without it."`
	State     string            `json:"state" enum:"active,suspended"`
	Quotas    quotasBody        `json:"quotas" doc:"0 is no bound."`
	Use       quotasBody        `json:"use"`
	Refused   map[string]uint64 `json:"refused" nullable:"false" doc:"How often each quota kept something out since the server was started."`
	CreatedBy string            `json:"created_by"`
	Created   *time.Time        `json:"created,omitempty"`
}

func (s *Server) tenantOf(ctx context.Context, t store.Tenant) (tenantBody, error) {
	use, err := s.cfg.Control.TenantUse(ctx, t.ID)
	use.Series, use.Flows = s.cfg.Telemetry.SeriesOf(t.ID), s.cfg.Flows.CountOf(t.ID)
	return tenantBody{ID: t.ID, Name: t.Name, State: t.State, Quotas: quotasBody(t.Quotas), Use: quotasBody(use), Refused: s.cfg.Control.Refused(t.ID),
		CreatedBy: t.CreatedBy, Created: when(t.Created)}, err
}

func (s *Server) tenant(ctx context.Context, id string) (*body[tenantBody], error) {
	t, err := s.cfg.Control.TenantByID(id)
	if err != nil {
		return nil, err
	}
	b, err := s.tenantOf(ctx, t)
	return answer(b), err
}

func (s *Server) tenantRoutes() {
	tags := []string{"tenants"}
	handle(s, huma.Operation{OperationID: "get-own-tenant", Method: http.MethodGet, Path: "/api/v1/tenant", Tags: tags,
		Summary: "Your tenant: what it has, and what it may have"},
		func(ctx context.Context, _ *struct{}) (*body[tenantBody], error) {
			return s.tenant(ctx, caller(ctx).Tenant)
		})
	handle(s, huma.Operation{OperationID: "list-tenants", Method: http.MethodGet, Path: "/api/v1/tenants", Tags: tags,
		Summary: "Who shares this server"},
		func(ctx context.Context, _ *struct{}) (*body[page[tenantBody]], error) {
			var out []tenantBody
			for _, t := range s.cfg.Control.Tenants() {
				b, err := s.tenantOf(ctx, t)
				if err != nil {
					return nil, err
				}
				out = append(out, b)
			}
			return answerPage(out, ""), nil
		})
	handle(s, huma.Operation{OperationID: "get-tenant", Method: http.MethodGet, Path: "/api/v1/tenants/{id}", Tags: tags, Summary: "One of them"},
		func(ctx context.Context, in *IDPath) (*body[tenantBody], error) { return s.tenant(ctx, in.ID) })
	handle(s, huma.Operation{OperationID: "create-tenant", Method: http.MethodPost, Path: "/api/v1/tenants", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Let somebody else share this server; then invite their administrator"},
		func(ctx context.Context, in *struct {
			Body struct {
				Name   string      `json:"name" minLength:"1" maxLength:"40" pattern:"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$" doc:"Lower-case letters, digits and dashes. It cannot be changed."`
				Quotas *quotasBody `json:"quotas,omitempty" doc:"Without it, nothing is bounded."`
			}
		}) (*body[tenantBody], error) {
			t := store.Tenant{Name: in.Body.Name, CreatedBy: caller(ctx).Actor()}
			if in.Body.Quotas != nil {
				t.Quotas = store.Quotas(*in.Body.Quotas)
			}
			t, err := s.cfg.Control.CreateTenant(ctx, t)
			if errors.Is(err, store.ErrConflict) {
				err = huma.Error409Conflict("there is a tenant of this name already; choose another")
			} else if errors.Is(err, store.ErrTenants) {
				err = huma.Error409Conflict(store.ErrTenants.Error())
			}
			s.act(ctx, "tenant.create", "tenant:"+t.ID, "name "+in.Body.Name, err)
			if err != nil {
				return nil, err
			}
			return s.tenant(ctx, t.ID)
		})
	handle(s, huma.Operation{OperationID: "set-tenant-quotas", Method: http.MethodPut, Path: "/api/v1/tenants/{id}/quotas", Tags: tags,
		Summary: "Bound what a tenant may have; what it has already stays"},
		func(ctx context.Context, in *struct {
			IDPath
			Body quotasBody
		}) (*body[tenantBody], error) {
			err := s.cfg.Control.SetTenantQuotas(ctx, in.ID, store.Quotas(in.Body))
			s.act(ctx, "tenant.quotas", "tenant:"+in.ID, "", err)
			if err != nil {
				return nil, err
			}
			return s.tenant(ctx, in.ID)
		})
	s.tenantMove("suspend", store.TenantSuspended, "Let nobody of a tenant in: no people, tokens or agents. What it has stays")
	s.tenantMove("resume", store.TenantActive, "Let a suspended tenant in again")
	handle(s, huma.Operation{OperationID: "delete-tenant", Method: http.MethodDelete, Path: "/api/v1/tenants/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Remove a suspended tenant with all it has"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			err := s.deleteTenant(ctx, in.ID)
			s.act(ctx, "tenant.delete", "tenant:"+in.ID, "", err)
			return nil, err
		})
	handle(s, huma.Operation{OperationID: "invite-tenant-administrator", Method: http.MethodPost, Path: "/api/v1/tenants/{id}/administrators", Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Invite an administrator of a tenant; who is one already gets a new link"}, s.inviteAdministrator)
}

func (s *Server) tenantMove(name, state, summary string) {
	handle(s, huma.Operation{OperationID: name + "-tenant", Method: http.MethodPost, Path: "/api/v1/tenants/{id}/" + name, Tags: []string{"tenants"}, Summary: summary},
		func(ctx context.Context, in *IDPath) (*body[tenantBody], error) {
			err := s.cfg.Control.SetTenantState(ctx, in.ID, state)
			s.act(ctx, "tenant."+name, "tenant:"+in.ID, "", err)
			if err != nil {
				return nil, err
			}
			return s.tenant(ctx, in.ID)
		})
}

// deleteTenant removes first what lies beside the control state. A crash in between leaves a suspended tenant that can be deleted again.
func (s *Server) deleteTenant(ctx context.Context, id string) error {
	t, err := s.cfg.Control.TenantByID(id)
	if err != nil {
		return err
	}
	if t.State != store.TenantSuspended {
		return huma.Error409Conflict("suspend the tenant first: then nothing of it changes while it is removed")
	}
	for {
		list, _, err := s.cfg.Control.ListCaptures(ctx, id, store.Page{Limit: 100})
		if err != nil {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, c := range list {
			if err := s.cfg.Captures.Delete(ctx, c); err != nil {
				return err
			}
		}
	}
	if err := s.cfg.Flows.DeleteAll(ctx, id); err != nil {
		return err
	}
	return s.cfg.Control.DeleteTenant(ctx, id)
}

func (s *Server) inviteAdministrator(ctx context.Context, in *struct {
	Browser
	IDPath
	Body struct {
		Username string `json:"username" minLength:"1" maxLength:"64"`
	}
}) (*body[linkBody], error) {
	t, err := s.cfg.Control.TenantByID(in.ID)
	if err != nil {
		return nil, err
	}
	if t.ID == store.DefaultTenant {
		return nil, huma.Error409Conflict("this is your own tenant: invite people on the page of people")
	}
	secret, err := s.cfg.Auth.InviteAdministrator(ctx, t.ID, in.Body.Username)
	if errors.Is(err, auth.ErrNotAdministrator) {
		err = huma.Error409Conflict("somebody of this name is there and no administrator: what they are is for the tenant's own administrators to say")
	}
	s.act(ctx, "tenant.invite", "tenant:"+t.ID, "user "+in.Body.Username, err)
	if err != nil {
		return nil, err
	}
	return answer(s.link(ctx, in.Browser, secret)), nil
}
