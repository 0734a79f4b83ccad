package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

type exportInput struct {
	FlowFilterQuery
	Format   string `query:"format" enum:"parquet,csv,json" default:"csv" doc:"json: one object per line."`
	Features bool   `query:"features" doc:"All features, not only those that every flow has; /api/v1/flows/columns says what each column is."`
	Limit    int    `query:"limit" minimum:"1" maximum:"5000000" default:"1000000" doc:"At most so many flows, the newest ones, in the order in which they were recorded."`
}

var exportKinds = map[string]struct{ mime, extension string }{
	"csv":     {"text/csv; charset=utf-8", "csv"},
	"json":    {"application/x-ndjson", "jsonl"},
	"parquet": {"application/vnd.apache.parquet", "parquet"},
}

type exportColumnBody struct {
	Name      string `json:"name"`
	Unit      string `json:"unit" doc:"UCUM: By bytes, s seconds, 1 a ratio; empty for what is not measured."`
	Direction string `json:"direction" enum:"forward,back,both," doc:"Forward is from src, who began."`
	Formula   string `json:"formula"`
	Feature   bool   `json:"feature" doc:"Only in an export with features."`
}

// exportColumns says what the columns of an export are.
func exportColumns(context.Context, *struct{}) (*body[page[exportColumnBody]], error) {
	first := exportColumnBody{Name: "capture", Formula: "the id of the capture"}
	return answerPage(append([]exportColumnBody{first}, convert(store.ExportColumns(), func(c store.ExportColumn) exportColumnBody {
		return exportColumnBody{Name: c.Name, Unit: c.Unit, Direction: c.Direction, Formula: c.Formula, Feature: c.Feature}
	})...), ""), nil
}

// exportFlows makes the file first, so that a failure is an error and not half a file, and streams it.
func (s *Server) exportFlows(ctx context.Context, in *exportInput) (*huma.StreamResponse, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	x, err := s.cfg.Flows.Export(ctx, store.FlowExport{Tenant: caller(ctx).Tenant, Filter: f, Format: in.Format, Features: in.Features, Limit: in.Limit})
	what := fmt.Sprintf("%d flows as %s", x.Flows, in.Format)
	if in.Features {
		what += " with features"
	}
	s.act(ctx, "flows.export", "flows", what, err)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer x.Close()
		as := exportKinds[in.Format]
		ctx.SetHeader("Content-Type", as.mime)
		ctx.SetHeader("Content-Disposition", `attachment; filename="flows.`+as.extension+`"`)
		ctx.SetHeader("X-Picket-Flows", strconv.Itoa(x.Flows))
		ctx.SetStatus(http.StatusOK)
		if _, err := io.Copy(impatient(ctx.BodyWriter()), x.File); err != nil {
			s.cfg.Log.Debug("an export was not taken to its end", "error", err)
		}
	}}, nil
}

const (
	exportTime    = 10 * time.Minute // in which an export must be taken
	exportSilence = time.Minute      // in which a part of it must
)

// impatientWriter ends a download that stands still, or never ends: its file takes space as long as somebody takes it.
type impatientWriter struct {
	io.Writer
	control *http.ResponseController
	silence time.Duration
	end     time.Time
}

// impatient bounds the time of what is written in an answer.
func impatient(w io.Writer) io.Writer {
	answer, ok := w.(http.ResponseWriter)
	if !ok {
		return w
	}
	return &impatientWriter{w, http.NewResponseController(answer), exportSilence, time.Now().Add(exportTime)}
}

func (w *impatientWriter) Write(p []byte) (int, error) {
	by := time.Now().Add(w.silence)
	if by.After(w.end) {
		by = w.end
	}
	// A writer without deadlines, as in a test, has none that could end the download.
	_ = w.control.SetWriteDeadline(by)
	return w.Writer.Write(p)
}
