// Package fleetcmd is `picket fleet`: it asks a running server, over its API, what can be had and what runs where, and
// lets it install, update, roll out and go back.
package fleetcmd

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
	data, err := s.api.Do(ctx, method, where, contentType, body)
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
