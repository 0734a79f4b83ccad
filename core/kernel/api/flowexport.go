package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type exportInput struct {
	FlowFilterQuery
	Format string `query:"format" enum:"parquet,csv" default:"csv"`
	Limit  int    `query:"limit" minimum:"1" maximum:"5000000" default:"1000000" doc:"At most so many flows, the newest first."`
}

// exportFlows makes the file first, so that a failure is an error and not half a file, and streams it.
func (s *Server) exportFlows(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	x, err := s.cfg.Flows.Export(ctx, store.FlowExport{Tenant: caller(ctx).Tenant, Filter: f, Format: in.Format, Limit: in.Limit})
	s.act(ctx, "flows.export", "flows", fmt.Sprintf("%d flows as %s", x.Flows, in.Format), err)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer x.Close()
		kind := "text/csv; charset=utf-8"
		if in.Format == "parquet" {
			kind = "application/vnd.apache.parquet"
		}
		ctx.SetHeader("Content-Type", kind)
		ctx.SetHeader("Content-Disposition", `attachment; filename="flows.`+in.Format+`"`)
		ctx.SetHeader("X-Picket-Flows", strconv.Itoa(x.Flows))
		ctx.SetStatus(http.StatusOK)
		if _, err := io.Copy(ctx.BodyWriter(), x.File); err != nil {
			s.cfg.Log.Debug("an export was not taken to its end", "error", err)
		}
	}}, nil
}
