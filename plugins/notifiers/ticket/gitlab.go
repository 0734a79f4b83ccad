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
	IID       int64      `json:"iid"`
	WebURL    string     `json:"web_url"`
	State     string     `json:"state"` // opened or closed
	ClosedAt  *time.Time `json:"closed_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

func (s *gitLab) create(ctx context.Context, d draft) (opened, error) {
	var made gitLabIssue
	_, err := s.client.Do(ctx, http.MethodPost, s.path, map[string]string{
		"title": d.title, "description": fence(d.text), "labels": strings.Join(d.labels, ","),
	}, &made)
	if err != nil {
		return opened{}, err
	}
	if made.IID <= 0 {
		return opened{}, sdk.Errorf(sdk.Downstream, "%s answered without the number of the ticket", s.client.Name())
	}
	n := strconv.FormatInt(made.IID, 10)
	return opened{id: s.project + "#" + n, url: webLink(made.WebURL, s.web+n)}, nil
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

func (s *gitLab) close(ctx context.Context, id, comment string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	if _, err := s.client.Do(ctx, http.MethodPost, s.path+"/"+n+"/notes", map[string]string{"body": fence(comment)}, nil); err != nil {
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
