package plugincmd

import (
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
	"github.com/picketwatch/picket/core/kernel/adminsock"
	"github.com/picketwatch/picket/core/kernel/pluginhost"
	"github.com/picketwatch/picket/core/kernel/pluginhost/confine"
	"github.com/picketwatch/picket/sdk"
)

// running is what a server says of one instance: catalogue.Explanation, whose package would bring the databases along.
type running struct {
	Instance string `json:"instance"`
	Plugin   string `json:"plugin"`
	Node     struct {
		Type string `json:"type"`
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"node"`
	State    string `json:"state"`
	Reason   string `json:"reason,omitempty"`
	Registry struct {
		Base       string    `json:"base"`
		RootSHA256 string    `json:"root_sha256"`
		Trust      string    `json:"trust"`
		Refreshed  time.Time `json:"refreshed,omitzero"`
	} `json:"registry"`
	Release    pluginhost.ProcessExplanation `json:"release"`
	Asked      []sdk.Permission              `json:"asked"`
	Granted    []sdk.Permission              `json:"granted"`
	GrantedBy  string                        `json:"granted_by"`
	GrantedAt  time.Time                     `json:"granted_at"`
	Ceiling    string                        `json:"ceiling,omitempty"`
	Limits     pluginhost.ProcessLimits      `json:"limits"`
	History    []pluginhost.Transition       `json:"history"`
	Incomplete string                        `json:"incomplete,omitempty"`
}

// liveServer is the server that is asked: the one on the data folder, or one over the network.
type liveServer struct{ url, tokenFile string }

func (l *liveServer) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.url, "server", "", "ask this server, such as https://picket.example, instead of the one on --data")
	cmd.Flags().StringVar(&l.tokenFile, "token-file", "", "a file with an API token for --server")
}

// explainAll joins what this node has pinned with what its server runs. Either may be missing, not both.
func explainAll(cmd *cobra.Command, n *node, l *liveServer, arg string) (*explanation, error) {
	id, _ := splitVersion(arg)
	if err := usage.Together(cmd, "server", "token-file"); err != nil {
		return nil, err
	}
	list, liveErr := l.ask(cmd.Context(), n.data, id)
	if liveErr != nil && l.url != "" {
		return nil, liveErr
	}
	for _, r := range list {
		if r.Release.Role == adminsock.UnsignedRole {
			return &explanation{ID: id, Unsigned: true, Running: list}, nil
		}
	}
	if l.url != "" {
		if len(list) == 0 {
			return nil, fmt.Errorf("%s runs no instance of %s", l.url, id)
		}
		return &explanation{ID: id, Running: list}, nil
	}
	c, err := n.open()
	if err == nil {
		defer c.Close()
		var e *explanation
		if e, err = explain(cmd, n, c, arg); err == nil {
			e.Running = list
			return e, nil
		}
	}
	if len(list) > 0 {
		return &explanation{ID: id, Running: list}, nil
	}
	if errors.Is(liveErr, adminsock.ErrNotRunning) || liveErr == nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w (and the server: %w)", err, liveErr)
}

// ask returns how each instance runs.
func (l *liveServer) ask(ctx context.Context, data, id string) ([]running, error) {
	if l.url != "" {
		return l.askAPI(ctx, id)
	}
	text, err := adminsock.Explain(ctx, data, adminsock.ExplainRequest{Plugin: id})
	if err != nil {
		return nil, err
	}
	var list []running
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("the answer of picketd is not understood: %w", err)
	}
	return list, nil
}

// readToken reads the one word that a file with a token holds.
func readToken(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the API token: %w", err)
	}
	words := strings.Fields(string(text))
	if len(words) != 1 || strings.IndexFunc(words[0], func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return "", fmt.Errorf("%s holds no API token: `picket token create` prints one, a single word", path)
	}
	return words[0], nil
}

func (l *liveServer) askAPI(ctx context.Context, id string) ([]running, error) {
	token, err := readToken(l.tokenFile)
	if err != nil {
		return nil, err
	}
	get := func(path string, into any) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(l.url, "/")+"/api/v1/plugins/"+id+path, nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err // without the address of the API, which nobody asked for by name
		}
		if err != nil {
			return fmt.Errorf("ask %s: %w", l.url, err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return answered(l, id, resp.StatusCode, raw)
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return fmt.Errorf("%s is no Picket server: its answer is not understood: %w", l.url, err)
		}
		return nil
	}
	var card struct {
		Instances []struct {
			Instance string `json:"instance"`
			Node     struct {
				ID string `json:"id"`
			} `json:"node"`
		} `json:"instances"`
	}
	if err := get("", &card); err != nil {
		return nil, err
	}
	var list []running
	for _, i := range card.Instances {
		var r running
		if err := get("/explain?"+url.Values{"instance": {i.Instance}, "node": {i.Node.ID}}.Encode(), &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// answered says what a refusal of the API means for whoever typed the command.
func answered(l *liveServer, id string, status int, raw []byte) error {
	switch status {
	case http.StatusNotFound:
		return fmt.Errorf("%s knows no plugin %s", l.url, id)
	case http.StatusUnauthorized:
		return fmt.Errorf("%s does not know the token in %s: `picket token create` makes one", l.url, l.tokenFile)
	case http.StatusForbidden:
		return fmt.Errorf("%s: the token in %s may not see that: it needs the role ADM or IT", l.url, l.tokenFile)
	}
	var problem struct{ Detail string }
	if json.Unmarshal(raw, &problem) != nil || problem.Detail == "" {
		problem.Detail = strings.TrimSpace(string(raw[:min(len(raw), 300)]))
	}
	return fmt.Errorf("%s answered %d: %s", l.url, status, problem.Detail)
}

func (r running) print(p *columns.Printer) {
	state := r.State
	if r.Reason != "" {
		state += ": " + r.Reason
	}
	p.Line(columns.C(""))
	p.Line(columns.S(columns.Bold, r.Instance), columns.C("  on "+r.Node.Name+"  "), columns.S(stateStyles[r.State], state))
	var rows [][]columns.Cell
	row := func(name, format string, args ...any) {
		if text := fmt.Sprintf(format, args...); text != "" {
			rows = append(rows, []columns.Cell{columns.S(columns.Dim, name), columns.C(text)})
		}
	}
	if r.Release.Role == adminsock.UnsignedRole {
		rows = append(rows, []columns.Cell{columns.S(columns.Dim, "trust"), columns.S(columns.Warn, "unsigned: its author tries it on this server")})
	} else {
		row("root", "%s  %s trust", r.Registry.RootSHA256, r.Registry.Trust)
	}
	row("bytes", "%s  version %s", r.Release.Digest, r.Release.Version)
	if r.Release.Descriptor != "" {
		row("named by", "%s  release.json", r.Release.Descriptor)
	}
	if len(r.Release.KeyIDs) > 0 {
		row("signed by", "%s, key %s", r.Release.Role, shorten(r.Release.KeyIDs))
	}
	for _, m := range r.Release.Models {
		row("reads", "%s", modelText(m))
	}
	row("granted", "by %s, %s", r.GrantedBy, stamp(r.GrantedAt))
	if r.Release.Grants != "" {
		row("", "%s  pinned in plugins.lock", r.Release.Grants)
	}
	for _, a := range r.Asked {
		row("asked", "%s: %s", a, a.Reason)
	}
	for _, g := range r.Granted {
		row("granted", "%s", g)
	}
	for _, u := range r.Release.Used {
		how := fmt.Sprintf("%d times", u.Count)
		if u.Denied > 0 {
			how += fmt.Sprintf(", refused %d times", u.Denied)
		}
		row("used", "%s %s, %s", u.Cap, u.Detail, how)
	}
	for _, g := range r.Release.Unused {
		row("not used", "%s", g)
	}
	row("ceiling", "%s", r.Ceiling)
	if c := r.Release.Confinement; c != nil {
		row("confined", "level %s, %s", c.Level, confinedText(c))
		row("", "%s", strings.Join(c.Reasons, "; "))
		if len(c.Unenforced) > 0 {
			row("not held to", "%s", strings.Join(c.Unenforced, ", "))
		}
	}
	row("in a process with", "%s", strings.Join(r.Release.Shares, ", "))
	row("limits", "%s", limitsText(r.Limits))
	p.Table(rows)
	if r.Incomplete != "" {
		p.Line(columns.S(columns.Warn, r.Incomplete))
	}
}

func confinedText(c *confine.Report) string {
	switch {
	case c.Level == confine.LevelC:
		return "a process like any other: nothing holds it but its limits"
	case len(c.Missing) == 0:
		return "complete"
	}
	return "without " + strings.Join(c.Missing, ", ")
}

func limitsText(l pluginhost.ProcessLimits) string {
	var parts []string
	add := func(there bool, format string, args ...any) {
		if there {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(l.MemoryBytes > 0, "%s of memory", columns.Bytes(int64(l.MemoryBytes)))
	add(l.CPU == 1, "1 core")
	add(l.CPU > 0 && l.CPU != 1, "%g cores", l.CPU)
	add(l.Deadline > 0, "%g s a call", l.Deadline)
	add(l.RecordsPerSecond > 0, "%d records a second", l.RecordsPerSecond)
	add(l.OpenFiles > 0, "%d open files", l.OpenFiles)
	add(l.LogLinesPerSecond > 0, "%d log lines a second", l.LogLinesPerSecond)
	return strings.Join(parts, ", ")
}
