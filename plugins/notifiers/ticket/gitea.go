package ticket

import (
	"context"
	"net/http"
	"net/url"
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
	Body      string     `json:"body"`
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
	return s.opened(made)
}

func (s *gitea) opened(i giteaIssue) (opened, error) {
	if i.Number <= 0 {
		return opened{}, sdk.Errorf(sdk.Downstream, "%s answered without the number of the ticket", s.client.Name())
	}
	n := strconv.FormatInt(i.Number, 10)
	return opened{id: s.project + "#" + n, url: webLink(i.HTMLURL, s.web+n)}, nil
}

// find looks at what changed since then: the search by words sees a new ticket only after a while.
func (s *gitea) find(ctx context.Context, line string, since time.Time) (opened, bool, error) {
	q := url.Values{"state": {"all"}, "type": {"issues"}, "since": {since.UTC().Format(time.RFC3339)}, "limit": {"50"}}
	for page := 1; page <= findPages; page++ {
		q.Set("page", strconv.Itoa(page))
		var list []giteaIssue
		if _, err := s.client.Do(ctx, http.MethodGet, s.path+"?"+q.Encode(), nil, &list); err != nil || len(list) == 0 {
			return opened{}, false, err
		}
		for _, i := range list {
			if hasLine(i.Body, line) {
				made, err := s.opened(i)
				return made, err == nil, err
			}
		}
	}
	return opened{}, false, nil
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

func (s *gitea) comment(ctx context.Context, id, text string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	_, err = s.client.Do(ctx, http.MethodPost, s.path+"/"+n+"/comments", map[string]string{"body": fence(text)}, nil)
	return err
}

func (s *gitea) close(ctx context.Context, id string) error {
	n, err := number(id, s.project)
	if err != nil {
		return err
	}
	_, err = s.client.Do(ctx, http.MethodPatch, s.path+"/"+n, map[string]string{"state": "closed"}, nil)
	return err
}
