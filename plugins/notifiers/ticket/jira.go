package ticket

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// jira speaks Jira Cloud's REST interface, version 3.
type jira struct {
	client    *rest.Client
	project   string
	issueType string
}

func newJira(c *Config, client *rest.Client) *jira {
	login := base64.StdEncoding.EncodeToString([]byte(c.User + ":" + c.Token))
	client.Header = map[string][]string{"Authorization": {"Basic " + login}}
	return &jira{client: client, project: c.Project, issueType: c.IssueType}
}

// document is a text in Atlassian's document format, one paragraph per line.
type document struct {
	Type    string      `json:"type"`
	Version int         `json:"version,omitempty"`
	Text    string      `json:"text,omitempty"`
	Content []*document `json:"content,omitempty"`
}

func newDocument(text string) *document {
	doc := &document{Type: "doc", Version: 1}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			doc.Content = append(doc.Content, &document{Type: "paragraph", Content: []*document{{Type: "text", Text: line}}})
		}
	}
	return doc
}

// hasLine reports whether a paragraph is exactly that line.
func (d *document) hasLine(line string) bool {
	if d == nil {
		return false
	}
	for _, p := range d.Content {
		var b strings.Builder
		if p == nil {
			continue
		}
		for _, part := range p.Content {
			if part != nil {
				b.WriteString(part.Text)
			}
		}
		if strings.TrimSpace(b.String()) == line {
			return true
		}
	}
	return false
}

type jiraFields struct {
	Project struct {
		Key string `json:"key"`
	} `json:"project"`
	IssueType struct {
		Name string `json:"name"`
	} `json:"issuetype"`
	Summary     string    `json:"summary"`
	Description *document `json:"description"`
	Labels      []string  `json:"labels,omitempty"`
}

func (s *jira) create(ctx context.Context, d draft) (opened, error) {
	fields := jiraFields{Summary: d.title, Description: newDocument(d.text), Labels: d.labels}
	fields.Project.Key, fields.IssueType.Name = s.project, s.issueType
	var made struct {
		Key string `json:"key"`
	}
	if _, err := s.client.Do(ctx, http.MethodPost, "/rest/api/3/issue", map[string]any{"fields": fields}, &made); err != nil {
		return opened{}, err
	}
	return s.opened(made.Key)
}

func (s *jira) opened(key string) (opened, error) {
	if err := s.check(key); err != nil {
		return opened{}, sdk.Errorf(sdk.Downstream, "%s answered without the key of the ticket", s.client.Name())
	}
	return opened{id: key, url: s.client.Base + "/browse/" + key}, nil
}

// find asks by time and reads the texts itself: the search by words sees a new ticket only after a while.
func (s *jira) find(ctx context.Context, line string, since time.Time) (opened, bool, error) {
	minutes := int64(s.client.Host.Now().Sub(since)/time.Minute) + 1
	q := url.Values{"fields": {"description"}, "maxResults": {"100"},
		"jql": {fmt.Sprintf(`project = "%s" AND created >= "-%dm" ORDER BY created DESC`, s.project, minutes)}}
	for range findPages {
		var answer struct {
			Issues []struct {
				Key    string `json:"key"`
				Fields struct {
					Description *document `json:"description"`
				} `json:"fields"`
			} `json:"issues"`
			Next string `json:"nextPageToken"`
		}
		if _, err := s.client.Do(ctx, http.MethodGet, "/rest/api/3/search/jql?"+q.Encode(), nil, &answer); err != nil {
			return opened{}, false, err
		}
		for _, i := range answer.Issues {
			if i.Fields.Description.hasLine(line) {
				made, err := s.opened(i.Key)
				return made, err == nil, err
			}
		}
		if answer.Next == "" {
			break
		}
		q.Set("nextPageToken", answer.Next)
	}
	return opened{}, false, nil
}

// check reports an id that is not a key of the project: it would become part of a path.
func (s *jira) check(id string) error {
	n, ours := strings.CutPrefix(id, s.project+"-")
	if !ours || n == "" || len(n) > 20 || strings.Trim(n, "0123456789") != "" {
		return sdk.Errorf(sdk.Downstream, "%q is not a ticket of %s", id, s.project)
	}
	return nil
}

// done is Jira's category of all states in which nobody works on an issue any more.
const done = "done"

type jiraStatus struct {
	Name           string `json:"name"`
	StatusCategory struct {
		Key string `json:"key"`
	} `json:"statusCategory"`
}

func (s *jira) state(ctx context.Context, id string) (sdk.DeliveryStatus, error) {
	if err := s.check(id); err != nil {
		return sdk.DeliveryStatus{}, err
	}
	var issue struct {
		Fields struct {
			Status  jiraStatus `json:"status"`
			Changed string     `json:"statuscategorychangedate"`
		} `json:"fields"`
	}
	if _, err := s.client.Do(ctx, http.MethodGet, "/rest/api/3/issue/"+id+"?fields=status,statuscategorychangedate", nil, &issue); err != nil {
		return sdk.DeliveryStatus{}, err
	}
	out := sdk.DeliveryStatus{State: sdk.DeliveryOpen, Text: issue.Fields.Status.Name}
	if issue.Fields.Status.StatusCategory.Key == done {
		out.State = sdk.DeliveryClosed
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000-0700", issue.Fields.Changed); err == nil { // its own form of a time
		out.Time = at.UTC()
	}
	return out, nil
}

func (s *jira) comment(ctx context.Context, id, text string) error {
	if err := s.check(id); err != nil {
		return err
	}
	_, err := s.client.Do(ctx, http.MethodPost, "/rest/api/3/issue/"+id+"/comment", map[string]any{"body": newDocument(text)}, nil)
	return err
}

func (s *jira) close(ctx context.Context, id string) error {
	if err := s.check(id); err != nil {
		return err
	}
	path := "/rest/api/3/issue/" + id
	var offered struct {
		Transitions []struct {
			ID string     `json:"id"`
			To jiraStatus `json:"to"`
		} `json:"transitions"`
	}
	if _, err := s.client.Do(ctx, http.MethodGet, path+"/transitions", nil, &offered); err != nil {
		return err
	}
	for _, t := range offered.Transitions {
		if t.To.StatusCategory.Key != done {
			continue
		}
		_, err := s.client.Do(ctx, http.MethodPost, path+"/transitions", map[string]any{"transition": map[string]string{"id": t.ID}}, nil)
		return err
	}
	return sdk.Errorf(sdk.Downstream, "the workflow of %s leads from its present state to none in which it is done", id)
}
