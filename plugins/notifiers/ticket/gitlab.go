package ticket

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// gitLab speaks GitLab's REST interface, version 4.
type gitLab struct {
	client  *rest.Client
	project string
	web     string
	path    string // of the project's issues
}

func newGitLab(c *Config, client *rest.Client) *gitLab {
	client.Header = map[string][]string{"Private-Token": {c.Token}}
	return &gitLab{client: client, project: c.Project, web: client.Base + "/" + c.Project + "/-/issues/",
		path: "/api/v4/projects/" + url.PathEscape(c.Project) + "/issues"}
}

type gitLabIssue struct {
	IID         int64      `json:"iid"`
	Description string     `json:"description"`
	WebURL      string     `json:"web_url"`
	State       string     `json:"state"` // opened or closed
	ClosedAt    *time.Time `json:"closed_at"`
	UpdatedAt   *time.Time `json:"updated_at"`
}

func (s *gitLab) create(ctx context.Context, d draft) (opened, error) {
	var made gitLabIssue
	_, err := s.client.Do(ctx, http.MethodPost, s.path, map[string]string{
		"title": d.title, "description": fence(d.text), "labels": strings.Join(d.labels, ","),
	}, &made)
	if err != nil {
		return opened{}, err
	}
	return s.opened(made)
}

func (s *gitLab) opened(i gitLabIssue) (opened, error) {
	if i.IID <= 0 {
		return opened{}, sdk.Errorf(sdk.Downstream, "%s answered without the number of the ticket", s.client.Name())
	}
	n := strconv.FormatInt(i.IID, 10)
	return opened{id: s.project + "#" + n, url: webLink(i.WebURL, s.web+n)}, nil
}

func (s *gitLab) find(ctx context.Context, line string, since time.Time) (opened, bool, error) {
	q := url.Values{"scope": {"all"}, "created_after": {since.UTC().Format(time.RFC3339)}, "order_by": {"created_at"}, "sort": {"desc"}, "per_page": {"100"}}
	for page := 1; page <= findPages; page++ {
		q.Set("page", strconv.Itoa(page))
		var list []gitLabIssue
		if _, err := s.client.Do(ctx, http.MethodGet, s.path+"?"+q.Encode(), nil, &list); err != nil || len(list) == 0 {
			return opened{}, false, err
		}
		for _, i := range list {
			if hasLine(i.Description, line) {
				made, err := s.opened(i)
				return made, err == nil, err
			}
		}
	}
	return opened{}, false, nil
}

func (s *gitLab) state(ctx context.Context, id string) (sdk.DeliveryStatus, error) {
	n, err := number(id, s.project)
	if err != nil {
		return sdk.DeliveryStatus{}, err
	}
	var issue gitLabIssue
	if _, err := s.client.Do(ctx, http.MethodGet, s.path+"/"+n, nil, &issue); err != nil {
		return sdk.DeliveryStatus{}, err
	}
	return plainState(issue.State, issue.ClosedAt, issue.UpdatedAt), nil
}

func (s *gitLab) comment(ctx context.Context, id, text string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	_, err = s.client.Do(ctx, http.MethodPost, s.path+"/"+n+"/notes", map[string]string{"body": fence(text)}, nil)
	return err
}

func (s *gitLab) close(ctx context.Context, id string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	_, err = s.client.Do(ctx, http.MethodPut, s.path+"/"+n, map[string]string{"state_event": "close"}, nil)
	return err
}

// plainState is that of the systems that know open and closed only.
func plainState(state string, closed, updated *time.Time) sdk.DeliveryStatus {
	out := sdk.DeliveryStatus{State: sdk.DeliveryOpen, Text: state, Time: latest(updated)}
	if state == "closed" {
		out.State, out.Time = sdk.DeliveryClosed, latest(closed, updated)
	}
	return out
}
