package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/store"
)

// Stored is how much a kind of data takes on disk.
type Stored struct {
	Kind  string `json:"kind"`
	Bytes int64  `json:"bytes"`
}

// SystemPart is a part of the server that works, or what is wrong with it.
type SystemPart struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Problem string `json:"problem"`
	Todo    string `json:"todo" doc:"What to do about it."`
}

// System is how the server is. Its figures over time are series of the sender Source.
type System struct {
	Version  string         `json:"version"`
	Started  time.Time      `json:"started"`
	Source   string         `json:"source" doc:"The agent of /api/v1/series whose metrics, picket.…, are those of this server."`
	DiskSize int64          `json:"disk_size" doc:"Of the disk with the data folder; 0 is not known."`
	DiskFree int64          `json:"disk_free"`
	Storage  []Stored       `json:"storage" nullable:"false"`
	Agents   map[string]int `json:"agents" doc:"By state."`
	Parts    []SystemPart   `json:"parts" nullable:"false"`
}

// FileSetting is one that only the configuration file can change.
type FileSetting struct {
	Key     string `json:"key"`
	Value   string `json:"value" doc:"As it is now; empty is none."`
	Default bool   `json:"default" doc:"It is what the program says."`
}

// Own is what the server knows of itself.
type Own interface {
	System(ctx context.Context) (System, error)
	File() []FileSetting
}

type fileSettingsBody struct {
	Items []FileSetting `json:"items" nullable:"false"`
}

// siteBody is what the first administrator says of the place, and how far they came.
type siteBody struct {
	Name string   `json:"name" maxLength:"80" doc:"What the place is called."`
	Done []string `json:"done" nullable:"false" maxItems:"20" doc:"Steps of the first run that are done or skipped." enum:"name,retention,watch,machine,mail,skipped:name,skipped:retention,skipped:watch,skipped:machine,skipped:mail"`
}

const siteSetting = "site"

func (s *Server) systemRoutes() {
	tags := []string{"settings"}
	handle(s, huma.Operation{OperationID: "get-system", Method: http.MethodGet, Path: "/api/v1/admin/system", Tags: tags,
		Summary: "How the server is: its parts, its storage, its agents"},
		func(ctx context.Context, _ *struct{}) (*body[System], error) {
			out, err := s.cfg.Own.System(ctx)
			return answer(out), err
		})
	handle(s, huma.Operation{OperationID: "list-file-settings", Method: http.MethodGet, Path: "/api/v1/settings/file", Tags: tags,
		Summary: "The settings that only the configuration file can change, as they are now"},
		func(context.Context, *struct{}) (*body[fileSettingsBody], error) {
			return answer(fileSettingsBody{s.cfg.Own.File()}), nil
		})
	handle(s, huma.Operation{OperationID: "get-site", Method: http.MethodGet, Path: "/api/v1/settings/site", Tags: tags,
		Summary: "What the place is called, and which steps of the first run are done"}, s.getSite)
	handle(s, huma.Operation{OperationID: "set-site", Method: http.MethodPut, Path: "/api/v1/settings/site", Tags: tags,
		Summary: "Name the place, or say that a step of the first run is done"}, s.setSite)
}

func (s *Server) getSite(ctx context.Context, _ *struct{}) (*body[siteBody], error) {
	text, err := s.cfg.Control.Setting(ctx, caller(ctx).Tenant, siteSetting)
	out := siteBody{Done: []string{}}
	if err == nil && text != "" {
		err = json.Unmarshal([]byte(text), &out)
	}
	return answer(out), err
}

func (s *Server) setSite(ctx context.Context, in *struct{ Body siteBody }) (*body[siteBody], error) {
	slices.Sort(in.Body.Done)
	in.Body.Done = slices.Compact(in.Body.Done)
	text, err := json.Marshal(in.Body)
	if err == nil {
		err = s.cfg.Control.PutSetting(ctx, caller(ctx).Tenant, siteSetting, string(text))
	}
	s.act(ctx, "settings.site", "settings:site", in.Body.Name, err)
	return answer(in.Body), err
}

// KeptNow is what is there of a kind of data, and what a retention of so many days would take of it.
type KeptNow struct {
	Kind string       `json:"kind"`
	Days int          `json:"days"`
	Now  store.Amount `json:"now"`
	Goes store.Amount `json:"goes" doc:"What is removed at the next cleaning up, within the hour."`
}

type retentionPreviewBody struct {
	Items []KeptNow `json:"items" nullable:"false"`
}

func (s *Server) retentionPreviewRoute(tags []string) {
	handle(s, huma.Operation{OperationID: "preview-retention", Method: http.MethodPost, Path: "/api/v1/admin/retention/preview", Tags: tags,
		Summary: "What is there of each kind of data, and what other days would remove. Changes nothing."},
		func(ctx context.Context, in *struct {
			Body struct {
				Days map[string]int `json:"days" maxProperties:"50" doc:"By kind; 0 means the default, a kind that is missing stays as it is."`
			}
		}) (*body[retentionPreviewBody], error) {
			list, err := s.cfg.Retention.Preview(ctx, in.Body.Days)
			return answer(retentionPreviewBody{list}), err
		})
}
