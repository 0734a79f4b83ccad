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
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/usage"
)

// server is a running picketd and how it is spoken to.
type server struct {
	url       string
	tokenFile string
	asJSON    bool

	last []byte // the last answer, for --json
}

func (s *server) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&s.url, "server", "http://127.0.0.1:8080", "the server's address")
	cmd.PersistentFlags().StringVar(&s.tokenFile, "token-file", "", "a `FILE` with an API token, as picket token create prints it")
	cmd.PersistentFlags().BoolVar(&s.asJSON, "json", false, "print JSON")
}

const (
	maxAnswer    = 32 << 20
	answerWithin = 2 * time.Minute
)

// call sends in as JSON and reads the answer into out; either may be nil.
func (s *server) call(ctx context.Context, method, path string, query url.Values, in, out any) error {
	token, err := s.token()
	if err != nil {
		return err
	}
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(raw)
	}
	where := strings.TrimSuffix(s.url, "/") + "/api/v1" + path
	if len(query) > 0 {
		where += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, where, body)
	if err != nil {
		return usage.Errorf("--server %s is no address: %s", s.url, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := &http.Client{Timeout: answerWithin, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s does not answer: %w", s.url, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", s.url, err)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s does not know the token in %s: `picket token create` makes one", s.url, s.tokenFile)
	case resp.StatusCode >= http.StatusMultipleChoices:
		return refusal(resp, data)
	}
	if s.last = data; out == nil || len(data) == 0 {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the answer of %s is not understood: %w", s.url, err)
	}
	return nil
}

// refusal says in one line why the server said no.
func refusal(resp *http.Response, data []byte) error {
	var p struct {
		Detail string
		Title  string
		Errors []struct{ Message, Location string }
	}
	if json.Unmarshal(data, &p) != nil {
		return fmt.Errorf("the server answered %s", resp.Status)
	}
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, e := range p.Errors {
		if e.Message != "" && !strings.Contains(text, e.Message) {
			text += fmt.Sprintf(" (%s: %s)", e.Location, e.Message)
		}
	}
	return errors.New(strings.Join(strings.Fields(text), " "))
}

func (s *server) token() (string, error) {
	if s.tokenFile == "" {
		return "", usage.Errorf("--token-file must be given: `picket token create --role ADM > FILE` makes a token for the server on this machine")
	}
	raw, err := os.ReadFile(s.tokenFile)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	words := strings.Fields(string(raw))
	if len(words) != 1 {
		return "", fmt.Errorf("%s holds no API token: `picket token create` prints one, a single word", s.tokenFile)
	}
	return words[0], nil
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
