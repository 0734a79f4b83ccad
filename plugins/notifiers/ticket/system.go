package ticket

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// system is one ticket system. Ids are those of receipts: they say everything that is needed to find the ticket again.
type system interface {
	create(ctx context.Context, d draft) (opened, error)
	// find returns the ticket that was opened since then and has a line in its text.
	find(ctx context.Context, line string, since time.Time) (opened, bool, error)
	state(ctx context.Context, id string) (sdk.DeliveryStatus, error)
	comment(ctx context.Context, id, text string) error
	close(ctx context.Context, id string) error
}

// findPages bounds how many answers are looked through for one ticket, newest first.
const findPages = 5

// draft is a ticket to be.
type draft struct {
	title, text string
	labels      []string
}

type opened struct{ id, url string }

func newSystem(c *Config, client *rest.Client) system {
	switch c.System {
	case "gitlab":
		return newGitLab(c, client)
	case "gitea":
		return newGitea(c, client)
	}
	return newJira(c, client)
}

// webLink returns the link that a server gave if a page may show it, or the one that is known to lead there.
func webLink(given, known string) string {
	if u, err := url.Parse(given); err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil {
		return u.String()
	}
	return known
}

// number takes the number of a ticket out of an id such as group/project#17.
func number(id, project string) (string, error) {
	n, ours := strings.CutPrefix(id, project+"#")
	if !ours || n == "" || len(n) > 20 || strings.Trim(n, "0123456789") != "" {
		return "", sdk.Errorf(sdk.Downstream, "%q is not a ticket of %s", id, project)
	}
	return n, nil
}

// latest is the first of the times that is set.
func latest(times ...*time.Time) time.Time {
	for _, t := range times {
		if t != nil && !t.IsZero() {
			return t.UTC()
		}
	}
	return time.Time{}
}

// fence puts a text where Markdown means nothing. The fence is longer than any run of backticks in the text.
func fence(text string) string {
	run, longest := 0, 2
	for _, c := range text {
		if c != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	f := strings.Repeat("`", longest+1)
	return f + "\n" + text + "\n" + f
}

// hasLine reports whether a text has exactly that line.
func hasLine(text, line string) bool {
	for l := range strings.Lines(text) {
		if strings.TrimSpace(l) == line {
			return true
		}
	}
	return false
}
