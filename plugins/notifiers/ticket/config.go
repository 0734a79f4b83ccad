package ticket

import (
	"net/textproto"
	"strings"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Config is what an operator sets.
type Config struct {
	System         string          `json:"system" required:"true" enum:"gitlab,gitea,jira" doc:"What runs there: GitLab, Gitea (also Forgejo), or Jira Cloud (REST version 3)."`
	URL            string          `json:"url" required:"true" format:"url" doc:"Address of the system, for example https://git.example.org."`
	Project        string          `json:"project" required:"true" max:"200" doc:"Where tickets go: group/project, owner/repository, or the key of a Jira project."`
	User           string          `json:"user" max:"200" doc:"Jira only: the e-mail address that the token belongs to."`
	Token          string          `json:"token" secret:"true" doc:"Access token that may write issues there."`
	IssueType      string          `json:"issue_type" default:"Task" max:"100" doc:"Jira only: the type of the issues."`
	Labels         []string        `json:"labels" max:"20" doc:"Labels of a new ticket. Not for Gitea, which wants numbers."`
	CloseResolved  bool            `json:"close_resolved" default:"true" doc:"Close the ticket when the alert is resolved here."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for a server with a private authority."`
	Timeout        config.Duration `json:"timeout" default:"20s" min:"100ms" max:"2m" doc:"How long one delivery may take."`
}

func (c *Config) validate() error {
	if _, err := rest.Base("url", c.URL); err != nil {
		return err
	}
	switch {
	case c.System == "jira" && (c.User == "" || strings.ContainsAny(c.Project, "/ ")):
		return sdk.Errorf(sdk.InvalidConfig, "jira needs user, and the key of a project such as OPS")
	case c.System != "jira" && !clean(strings.Split(c.Project, "/"), c.System == "gitea"):
		return sdk.Errorf(sdk.InvalidConfig, "project: %q is not group/project", c.Project)
	}
	for i, l := range c.Labels {
		if strings.TrimSpace(l) == "" || strings.ContainsAny(l, ",\r\n") || c.System == "jira" && strings.Contains(l, " ") {
			return sdk.Errorf(sdk.InvalidConfig, "labels[%d]: %q cannot be a label", i, l)
		}
	}
	if strings.ContainsAny(c.Token+c.User, "\r\n") || textproto.TrimString(c.Token) != c.Token {
		return sdk.Errorf(sdk.InvalidConfig, "token: it has characters that a header cannot carry")
	}
	_, err := trust.Config("", c.CACertificates)
	return err
}

// clean reports whether the parts can stand in a path. Gitea has exactly an owner and a repository.
func clean(parts []string, two bool) bool {
	if len(parts) < 2 || two && len(parts) != 2 {
		return false
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || strings.ContainsAny(p, "?#%\\ ") {
			return false
		}
	}
	return true
}
