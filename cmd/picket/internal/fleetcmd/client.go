// Package fleetcmd is `picket fleet`: it asks a running server, over its API, what can be had and what runs where, and
// lets it install, update, roll out and go back.
package fleetcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/serverapi"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// server is a running picketd and how it is spoken to.
type server struct {
	api    serverapi.Server
	asJSON bool

	last []byte // the last answer, for --json
}

func newServer() *server { return &server{api: serverapi.Server{Role: "ADM"}} }

func (s *server) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&s.api.URL, "server", "http://127.0.0.1:8080", "the server's address")
	cmd.PersistentFlags().StringVar(&s.api.TokenFile, "token-file", "", "a `FILE` with an API token, as picket token create prints it")
	cmd.PersistentFlags().BoolVar(&s.asJSON, "json", false, "print JSON")
}

// call sends in as JSON and reads the answer into out; either may be nil.
func (s *server) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	return s.callAt(ctx, s.api, method, path, query, in, out)
}

// change is call for a change that is meant for one version of what is there.
func (s *server) change(ctx context.Context, method, path string, version int64, in, out any) error {
	return s.callAt(ctx, s.api.Matching(version), method, path, nil, in, out)
}

func (s *server) callAt(ctx context.Context, api serverapi.Server, method, path string, query url.Values, in, out any) error {
	var body io.Reader
	contentType := ""
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body, contentType = bytes.NewReader(raw), "application/json"
	}
	where := "/api/v1" + path
	if len(query) > 0 {
		where += "?" + query.Encode()
	}
	data, err := api.Do(ctx, method, where, contentType, body)
	if err != nil {
		return err
	}
	if s.last = data; out == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", s.api.URL, err)
	}
	return nil
}

// overtaken reports whether a change was refused because somebody else was faster.
func overtaken(err error) bool {
	var r *serverapi.Refusal
	return errors.As(err, &r) && r.Status == http.StatusPreconditionFailed
}

// all reads a list to its end; items are what the API says of each.
func (s *server) all(ctx context.Context, path string, most int) (items []json.RawMessage, err error) {
	for cursor := ""; ; {
		var page struct {
			Items []json.RawMessage
			Next  string `json:"next_cursor"`
		}
		if err := s.call(ctx, http.MethodGet, path, url.Values{"limit": {"500"}, "cursor": {cursor}}, nil, &page); err != nil {
			return nil, err
		}
		items = append(items, page.Items...)
		if cursor = page.Next; cursor == "" || len(items) >= most {
			return items[:min(len(items), most)], s.keep(map[string]any{"items": items[:min(len(items), most)]})
		}
	}
}

// keep makes v what --json prints.
func (s *server) keep(v any) (err error) {
	s.last, err = json.Marshal(v)
	return err
}

// read turns what the API says of each into what is printed.
func read[T any](items []json.RawMessage) ([]T, error) {
	out := make([]T, len(items))
	for i, raw := range items {
		if err := json.Unmarshal(raw, &out[i]); err != nil {
			return nil, fmt.Errorf("the answer is not understood: %w", err)
		}
	}
	return out, nil
}

// show prints the last answer as JSON, or as text for people.
func (s *server) show(cmd *cobra.Command, text func(p *columns.Printer)) error {
	if s.asJSON {
		return columns.JSON(cmd.OutOrStdout(), json.RawMessage(s.last))
	}
	text(columns.New(cmd.OutOrStdout()))
	return nil
}

// pluginPath is where a plugin lies in the API.
func pluginPath(prefix, id, tail string) (string, error) {
	ns, name, ok := strings.Cut(id, "/")
	if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
		return "", usage.Errorf("%q is not the id of a plugin, NAMESPACE/NAME", id)
	}
	return prefix + "/" + url.PathEscape(ns) + "/" + url.PathEscape(name) + tail, nil
}

// splitVersion reads PLUGIN@VERSION.
func splitVersion(arg string) (id, version string) {
	id, version, _ = strings.Cut(arg, "@")
	return id, version
}

// grants turns the flag into what the API takes.
func grants(list []string) any {
	if len(list) == 1 && list[0] == "all" {
		return "all"
	}
	if list == nil {
		list = []string{}
	}
	return list
}
