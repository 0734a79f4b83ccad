package api

import (
	"context"
	"fmt"
	"net/http"
	"sort"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Kept is how long a kind of data is kept.
type Kept struct {
	Kind    string `json:"kind"`
	Days    int    `json:"days"`
	Default int    `json:"default" doc:"Days, as the configuration file or the program says."`
}

// Retention keeps each kind of data as long as it is to be kept.
type Retention interface {
	List() []Kept
	// Set changes some kinds; 0 days means the default again.
	Set(ctx context.Context, days map[string]int) error
	// Preview says what other days would remove.
	Preview(ctx context.Context, days map[string]int) ([]KeptNow, error)
	// Cleanup removes now what else goes within the hour, and counts it by kind.
	Cleanup(ctx context.Context) (map[string]int, error)
}

type retentionBody struct {
	Items []Kept `json:"items" nullable:"false"`
}

type cleanupBody struct {
	Removed map[string]int `json:"removed" doc:"By kind: rows; days of samples and flows; files of sums."`
}

func (s *Server) retentionRoutes() {
	tags := []string{"retention"}
	s.retentionPreviewRoute(tags)
	handle(s, huma.Operation{OperationID: "get-retention", Method: http.MethodGet, Path: "/api/v1/admin/retention", Tags: tags,
		Summary: "How long each kind of data is kept"},
		func(context.Context, *struct{}) (*body[retentionBody], error) {
			return answer(retentionBody{s.cfg.Retention.List()}), nil
		})
	handle(s, huma.Operation{OperationID: "set-retention", Method: http.MethodPut, Path: "/api/v1/admin/retention", Tags: tags,
		Summary: "Change how long kinds of data are kept"},
		func(ctx context.Context, in *struct {
			Body struct {
				Days map[string]int `json:"days" doc:"By kind; 0 means the default again."`
			}
		}) (*body[retentionBody], error) {
			err := s.cfg.Retention.Set(ctx, in.Body.Days)
			s.act(ctx, "retention.set", "retention", counted(in.Body.Days, "days"), err)
			return answer(retentionBody{s.cfg.Retention.List()}), err
		})
	handle(s, huma.Operation{OperationID: "clean-up", Method: http.MethodPost, Path: "/api/v1/admin/retention/cleanup", Tags: tags,
		Summary: "Remove now what is past its retention"},
		func(ctx context.Context, _ *struct{}) (*body[cleanupBody], error) {
			removed, err := s.cfg.Retention.Cleanup(ctx)
			s.act(ctx, "retention.cleanup", "retention", counted(removed, ""), err)
			return answer(cleanupBody{removed}), err
		})
}

// counted is a line about numbers by kind.
func counted(numbers map[string]int, unit string) string {
	var parts []string
	for kind, n := range numbers {
		parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %d %s", kind, n, unit)))
	}
	sort.Strings(parts)
	return strings.Join(parts, ", ")
}
