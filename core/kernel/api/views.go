package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/store"
)

type viewBody struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Page    string    `json:"page" doc:"The page that it belongs to."`
	Query   string    `json:"query" doc:"As the page's address has it."`
	Owner   string    `json:"owner" doc:"Who saved it."`
	Mine    bool      `json:"mine"`
	Shared  bool      `json:"shared" doc:"Everybody sees it."`
	Created time.Time `json:"created"`
}

func viewOf(owner string) func(store.View) viewBody {
	return func(v store.View) viewBody {
		return viewBody{ID: v.ID, Name: v.Name, Page: v.Page, Query: v.Query, Owner: v.Owner, Mine: v.Owner == owner, Shared: v.Shared, Created: v.Created.UTC()}
	}
}

func (s *Server) viewRoutes() {
	const path = "/api/v1/views"
	tags := []string{"views"}
	handle(s, huma.Operation{OperationID: "list-views", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "The filters that you saved, and those that others share"},
		func(ctx context.Context, _ *struct{}) (*body[page[viewBody]], error) {
			me := caller(ctx).Actor()
			l, err := s.cfg.Control.ListViews(ctx, caller(ctx).Tenant, me)
			return answerPage(convert(l, viewOf(me)), ""), err
		})
	handle(s, huma.Operation{OperationID: "save-view", Method: http.MethodPost, Path: path, Tags: tags,
		DefaultStatus: http.StatusCreated, Summary: "Save filters under a name; your own of the same name is replaced"}, s.saveView)
	handle(s, huma.Operation{OperationID: "delete-view", Method: http.MethodDelete, Path: path + "/{id}", Tags: tags,
		DefaultStatus: http.StatusNoContent, Summary: "Delete a view of yours; an administrator may also delete what others share"},
		func(ctx context.Context, in *IDPath) (*struct{}, error) {
			id := caller(ctx)
			err := s.cfg.Control.DeleteView(ctx, id.Tenant, id.Actor(), in.ID, id.Role == auth.RoleADM)
			s.act(ctx, "view.delete", "view:"+in.ID, "", err)
			return nil, err
		})
}

func (s *Server) saveView(ctx context.Context, in *struct {
	Body struct {
		Name   string `json:"name" minLength:"1" maxLength:"80"`
		Page   string `json:"page" enum:"flows,machines" default:"flows" doc:"The page that it belongs to."`
		Query  string `json:"query" maxLength:"4000" doc:"As the page's address has it, without the question mark."`
		Shared bool   `json:"shared,omitempty" doc:"Let everybody see it."`
	}
}) (*body[viewBody], error) {
	id := caller(ctx)
	shared, err := s.sharesView(ctx, in.Body.Page, in.Body.Name)
	if err != nil {
		return nil, err
	}
	v, err := s.cfg.Control.SaveView(ctx, store.View{Tenant: id.Tenant, Owner: id.Actor(), Name: in.Body.Name, Page: in.Body.Page,
		Query: in.Body.Query, Shared: in.Body.Shared})
	switch {
	case in.Body.Shared:
		s.act(ctx, "view.share", "view:"+v.ID, "name "+in.Body.Name, err)
	case shared: // what others may work with is taken from them
		s.act(ctx, "view.unshare", "view:"+v.ID, "name "+in.Body.Name, err)
	}
	return answer(viewOf(id.Actor())(v)), err
}

// sharesView reports whether the caller has a view of this name that everybody sees.
func (s *Server) sharesView(ctx context.Context, page, name string) (bool, error) {
	me := caller(ctx).Actor()
	l, err := s.cfg.Control.ListViews(ctx, caller(ctx).Tenant, me)
	return slices.ContainsFunc(l, func(v store.View) bool { return v.Owner == me && v.Page == page && v.Name == name && v.Shared }), err
}
