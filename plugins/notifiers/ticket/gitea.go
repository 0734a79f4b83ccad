package ticket

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// gitea speaks the REST interface, version 1, of Gitea and Forgejo.
type gitea struct {
	client  *rest.Client
	project string
	web     string
	path    string // of the repository's issues
}

func newGitea(c *Config, client *rest.Client) *gitea {
	client.Header = map[string][]string{"Authorization": {"token " + c.Token}}
	return &gitea{client: client, project: c.Project, web: client.Base + "/" + c.Project + "/issues/", path: "/api/v1/repos/" + c.Project + "/issues"}
}

type giteaIssue struct {
	Number    int64      `json:"number"`
	HTMLURL   string     `json:"html_url"`
	State     string     `json:"state"` // open or closed
	ClosedAt  *time.Time `json:"closed_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

func (s *gitea) create(ctx context.Context, d draft) (opened, error) {
	var made giteaIssue
	_, err := s.client.Do(ctx, http.MethodPost, s.path, map[string]string{"title": d.title, "body": fence(d.text)}, &made)
	if err != nil {
		return opened{}, err
	}
	if made.Number <= 0 {
		return opened{}, sdk.Errorf(sdk.Downstream, "%s answered without the number of the ticket", s.client.Name())
	}
	n := strconv.FormatInt(made.Number, 10)
	return opened{id: s.project + "#" + n, url: webLink(made.HTMLURL, s.web+n)}, nil
}

func (s *gitea) state(ctx context.Context, id string) (sdk.DeliveryStatus, error) {
	n, err := number(id, s.project)
	if err != nil {
		return sdk.DeliveryStatus{}, err
	}
	var issue giteaIssue
	if _, err := s.client.Do(ctx, http.MethodGet, s.path+"/"+n, nil, &issue); err != nil {
		return sdk.DeliveryStatus{}, err
	}
	return plainState(issue.State, issue.ClosedAt, issue.UpdatedAt), nil
}

func (s *gitea) close(ctx context.Context, id, comment string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	if _, err := s.client.Do(ctx, http.MethodPost, s.path+"/"+n+"/comments", map[string]string{"body": fence(comment)}, nil); err != nil {
		return err
	}
	_, err = s.client.Do(ctx, http.MethodPatch, s.path+"/"+n, map[string]string{"state": "closed"}, nil)
	return err
}
