package ticket

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// mock is a double of a ticket system, not the real one: it keeps issues, and refuses every request that the published
// interface of the system does not have, field by field.
type mock struct {
	*httptest.Server
	t      *testing.T
	refuse func(w http.ResponseWriter, r *http.Request) bool // answers instead, if set and true

	mu     sync.Mutex // guards the rest
	issues []*mockIssue
	cut    int // so many answers to what changes something are lost on their way
}

type mockIssue struct {
	title, text string
	labels      []string
	comments    []string
	closed      bool
}

// newMock starts the double of a system.
func newMock(t *testing.T, name string) *mock {
	t.Helper()
	m := &mock{t: t}
	handle := map[string]func(*call) any{"gitlab": m.gitLab, "gitea": m.gitea, "jira": m.jira}[name]
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m.refuse != nil && m.refuse(w, r) {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		c := &call{Request: r, status: http.StatusOK}
		c.body, _ = io.ReadAll(r.Body)
		if len(c.body) > 0 && r.Header.Get("Content-Type") != "application/json" {
			c.fail(http.StatusUnsupportedMediaType, "Content-Type")
		}
		answer := handle(c)
		if m.cut > 0 && r.Method != http.MethodGet {
			m.cut--
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", "application/json")
		if c.problem != "" {
			w.WriteHeader(c.status)
			fmt.Fprintf(w, `{"message": %q}`, c.problem)
			return
		}
		w.WriteHeader(c.status)
		if answer != nil {
			_ = json.NewEncoder(w).Encode(answer)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// call is one request to a double.
type call struct {
	*http.Request
	body    []byte
	status  int
	problem string
}

func (c *call) fail(status int, problem string) any {
	if c.problem == "" {
		c.status, c.problem = status, problem
	}
	return nil
}

// into reads the body, which must have no other fields.
func (c *call) into(v any) bool {
	d := json.NewDecoder(bytes.NewReader(c.body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		c.fail(http.StatusBadRequest, err.Error())
		return false
	}
	return true
}

// route splits the path behind a prefix; what is escaped stays one part.
func (c *call) route(prefix string) []string {
	rest, ok := strings.CutPrefix(c.URL.EscapedPath(), prefix)
	if !ok {
		c.fail(http.StatusNotFound, "404 "+c.URL.Path)
		return nil
	}
	parts := strings.Split(rest, "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	return parts
}

func (m *mock) issue(c *call, number string) *mockIssue {
	var n int
	if _, err := fmt.Sscan(number, &n); err != nil || n < 1 || n > len(m.issues) {
		c.fail(http.StatusNotFound, "404 Issue Not Found")
		return nil
	}
	return m.issues[n-1]
}

// page returns the numbers of one page of issues, newest first. The double knows no time that issues are older than.
func (m *mock) page(c *call, since, size string) (numbers []int) {
	q := c.URL.Query()
	var page, limit int
	_, err := fmt.Sscan(q.Get("page")+" "+q.Get(size), &page, &limit)
	if _, timeErr := time.Parse(time.RFC3339, q.Get(since)); err != nil || timeErr != nil || limit > 100 || page < 1 {
		c.fail(http.StatusBadRequest, c.URL.RawQuery)
		return nil
	}
	for n := len(m.issues) - (page-1)*limit; n > 0 && len(numbers) < limit; n-- {
		numbers = append(numbers, n)
	}
	return numbers
}

const mockTime = "2026-03-02T10:00:00Z"

func (i *mockIssue) when() any {
	if i.closed {
		return mockTime
	}
	return nil
}

func (m *mock) gitLab(c *call) any {
	if c.Header.Get("Private-Token") != "a-token" {
		return c.fail(http.StatusUnauthorized, "401 Unauthorized")
	}
	parts := c.route("/api/v4/projects/")
	if len(parts) < 2 || parts[0] != "network/ops/incidents" || parts[1] != "issues" {
		return c.fail(http.StatusNotFound, "404 Project Not Found")
	}
	show := func(i *mockIssue, n int) any {
		state := "opened"
		if i.closed {
			state = "closed"
		}
		return map[string]any{"id": 9000 + n, "iid": n, "title": i.title, "description": i.text, "state": state, "web_url": fmt.Sprintf("https://git.example.org/network/ops/incidents/-/issues/%d", n),
			"closed_at": i.when(), "updated_at": "2026-03-01T09:00:00.000Z", "labels": i.labels}
	}
	if len(parts) == 2 && c.Method == http.MethodGet {
		list := []any{}
		for _, n := range m.page(c, "created_after", "per_page") {
			list = append(list, show(m.issues[n-1], n))
		}
		return list
	}
	if len(parts) == 2 && c.Method == http.MethodPost {
		var in struct{ Title, Description, Labels string }
		if !c.into(&in) {
			return nil
		}
		if in.Title == "" || len(in.Title) > 255 || len(in.Description) > 1<<20 {
			return c.fail(http.StatusBadRequest, "title is missing or too long")
		}
		m.issues = append(m.issues, &mockIssue{title: in.Title, text: in.Description, labels: strings.Split(in.Labels, ",")})
		c.status = http.StatusCreated
		return show(m.issues[len(m.issues)-1], len(m.issues))
	}
	if len(parts) < 3 {
		return c.fail(http.StatusMethodNotAllowed, "405")
	}
	i := m.issue(c, parts[2])
	switch {
	case i == nil:
		return nil
	case len(parts) == 3 && c.Method == http.MethodGet:
	case len(parts) == 3 && c.Method == http.MethodPut:
		var in struct {
			StateEvent string `json:"state_event"`
		}
		if c.into(&in) && in.StateEvent != "close" && in.StateEvent != "reopen" {
			return c.fail(http.StatusBadRequest, "state_event does not have a valid value")
		}
		i.closed = in.StateEvent == "close"
	case len(parts) == 4 && parts[3] == "notes" && c.Method == http.MethodPost:
		var in struct{ Body string }
		if !c.into(&in) {
			return nil
		}
		i.comments = append(i.comments, in.Body)
		c.status = http.StatusCreated
		return map[string]any{"id": 1, "body": in.Body}
	default:
		return c.fail(http.StatusMethodNotAllowed, "405")
	}
	var n int
	_, _ = fmt.Sscan(parts[2], &n)
	return show(i, n)
}

func (m *mock) gitea(c *call) any {
	if c.Header.Get("Authorization") != "token a-token" {
		return c.fail(http.StatusUnauthorized, "token is required")
	}
	parts := c.route("/api/v1/repos/")
	if len(parts) < 3 || parts[0] != "network" || parts[1] != "incidents" || parts[2] != "issues" {
		return c.fail(http.StatusNotFound, "The target couldn't be found.")
	}
	show := func(i *mockIssue, n string) any {
		state := "open"
		if i.closed {
			state = "closed"
		}
		var number int
		_, _ = fmt.Sscan(n, &number)
		return map[string]any{"id": 9000, "number": number, "title": i.title, "body": i.text, "state": state,
			"html_url": "https://git.example.org/network/incidents/issues/" + n, "closed_at": i.when(), "updated_at": "2026-03-01T10:00:00+01:00"}
	}
	if len(parts) == 3 && c.Method == http.MethodGet {
		list := []any{}
		for _, n := range m.page(c, "since", "limit") {
			list = append(list, show(m.issues[n-1], fmt.Sprint(n)))
		}
		return list
	}
	if len(parts) == 3 && c.Method == http.MethodPost {
		var in struct {
			Title, Body string
			Labels      []int64
		}
		if !c.into(&in) {
			return nil
		}
		if in.Title == "" {
			return c.fail(http.StatusUnprocessableEntity, "[Title]: Required")
		}
		m.issues = append(m.issues, &mockIssue{title: in.Title, text: in.Body})
		c.status = http.StatusCreated
		return show(m.issues[len(m.issues)-1], fmt.Sprint(len(m.issues)))
	}
	if len(parts) < 4 {
		return c.fail(http.StatusMethodNotAllowed, "405")
	}
	i := m.issue(c, parts[3])
	switch {
	case i == nil:
		return nil
	case len(parts) == 4 && c.Method == http.MethodGet:
	case len(parts) == 4 && c.Method == http.MethodPatch:
		var in struct{ State string }
		if c.into(&in) && in.State != "open" && in.State != "closed" {
			return c.fail(http.StatusUnprocessableEntity, "state")
		}
		i.closed = in.State == "closed"
		c.status = http.StatusCreated
	case len(parts) == 5 && parts[4] == "comments" && c.Method == http.MethodPost:
		var in struct{ Body string }
		if !c.into(&in) {
			return nil
		}
		i.comments = append(i.comments, in.Body)
		c.status = http.StatusCreated
		return map[string]any{"id": 1}
	default:
		return c.fail(http.StatusMethodNotAllowed, "405")
	}
	return show(i, parts[3])
}

// adf is Atlassian's document format as far as the double accepts it.
type adf struct {
	Type    string `json:"type"`
	Version int    `json:"version"`
	Text    string `json:"text"`
	Content []adf  `json:"content"`
}

func (a adf) plain(c *call, depth int) string {
	want := []string{"doc", "paragraph", "text"}[min(depth, 2)]
	if a.Type != want || (depth == 0) != (a.Version == 1) || (depth == 2) != (a.Text != "") || depth > 2 {
		c.fail(http.StatusBadRequest, "Operation value must be an Atlassian Document")
		return ""
	}
	out := a.Text
	for _, child := range a.Content {
		out += child.plain(c, depth+1)
	}
	if depth == 1 {
		out += "\n"
	}
	return out
}

// jiraSearch gives one issue per page, newest first.
func (m *mock) jiraSearch(c *call) any {
	q := c.URL.Query()
	var minutes int
	if _, err := fmt.Sscanf(q.Get("jql"), `project = "OPS" AND created >= "-%dm" ORDER BY created DESC`, &minutes); err != nil || q.Get("fields") != "description" {
		return c.fail(http.StatusBadRequest, q.Get("jql"))
	}
	n := len(m.issues)
	if token := q.Get("nextPageToken"); token != "" {
		_, _ = fmt.Sscan(token, &n)
	}
	out := map[string]any{"issues": []any{}, "isLast": n <= 1}
	if n > 0 {
		var lines []any
		for line := range strings.Lines(m.issues[n-1].text) {
			lines = append(lines, map[string]any{"type": "paragraph", "content": []any{map[string]any{"type": "text", "text": strings.TrimSpace(line)}}})
		}
		out["issues"] = []any{map[string]any{"id": "10000", "key": fmt.Sprintf("OPS-%d", n),
			"fields": map[string]any{"description": map[string]any{"type": "doc", "version": 1, "content": lines}}}}
	}
	if n > 1 {
		out["nextPageToken"] = fmt.Sprint(n - 1)
	}
	return out
}

func (m *mock) jira(c *call) any {
	user, token, ok := c.BasicAuth()
	if !ok || user != "bot@example.org" || token != "a-token" {
		return c.fail(http.StatusUnauthorized, "Client must be authenticated to access this resource.")
	}
	if c.URL.Path == "/rest/api/3/search/jql" && c.Method == http.MethodGet {
		return m.jiraSearch(c)
	}
	parts := c.route("/rest/api/3/issue")
	if len(parts) == 1 && c.Method == http.MethodPost {
		var in struct {
			Fields struct {
				Project     struct{ Key string }
				IssueType   struct{ Name string } `json:"issuetype"`
				Summary     string
				Description adf
				Labels      []string
			}
		}
		if !c.into(&in) {
			return nil
		}
		f := in.Fields
		if f.Project.Key != "OPS" || f.IssueType.Name != "Task" || f.Summary == "" || len(f.Summary) > 255 || strings.ContainsAny(f.Summary, "\r\n") {
			return c.fail(http.StatusBadRequest, "project, issuetype or summary")
		}
		m.issues = append(m.issues, &mockIssue{title: f.Summary, text: f.Description.plain(c, 0), labels: f.Labels})
		c.status = http.StatusCreated
		return map[string]any{"id": "10000", "key": fmt.Sprintf("OPS-%d", len(m.issues)), "self": "https://example.atlassian.net/rest/api/3/issue/10000"}
	}
	if len(parts) < 2 {
		return c.fail(http.StatusMethodNotAllowed, "405")
	}
	number, _ := strings.CutPrefix(parts[1], "OPS-")
	i := m.issue(c, number)
	if i == nil {
		return nil
	}
	status := func(category, name string) any {
		return map[string]any{"name": name, "statusCategory": map[string]any{"key": category}}
	}
	switch {
	case len(parts) == 2 && c.Method == http.MethodGet:
		now := status("indeterminate", "In Progress")
		if i.closed {
			now = status("done", "Erledigt")
		}
		return map[string]any{"key": parts[1], "fields": map[string]any{"status": now, "statuscategorychangedate": "2026-03-02T11:00:00.000+0100"}}
	case len(parts) == 3 && parts[2] == "transitions" && c.Method == http.MethodGet:
		return map[string]any{"transitions": []any{map[string]any{"id": "11", "to": status("new", "To Do")}, map[string]any{"id": "31", "to": status("done", "Erledigt")}}}
	case len(parts) == 3 && parts[2] == "transitions" && c.Method == http.MethodPost:
		var in struct{ Transition struct{ ID string } }
		if c.into(&in) && in.Transition.ID != "31" {
			return c.fail(http.StatusBadRequest, "transition")
		}
		i.closed = true
		c.status = http.StatusNoContent
		return nil
	case len(parts) == 3 && parts[2] == "comment" && c.Method == http.MethodPost:
		var in struct{ Body adf }
		if !c.into(&in) {
			return nil
		}
		i.comments = append(i.comments, in.Body.plain(c, 0))
		c.status = http.StatusCreated
		return map[string]any{"id": "1"}
	}
	return c.fail(http.StatusMethodNotAllowed, "405")
}
