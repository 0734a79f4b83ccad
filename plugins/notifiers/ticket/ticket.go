// Package ticket is the notifier picket/ticket: what goes in is a notice, what comes out is a ticket in GitLab, Gitea or
// Jira, with its number and link as the receipt, and later what became of it: a ticket closed there closes the alert.
//
// The reading path: ticket.go keeps one ticket per alert; system.go is what all systems have in common; gitlab.go,
// gitea.go and jira.go speak their REST interfaces.
package ticket

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/ticket",
		Kind:    sdk.KindNotifier,
		Summary: "Opens a ticket in GitLab, Gitea or Jira for each alert, and tells when it was closed there.",
		New:     func() sdk.Instance { return New() },
	}
}

// Notifier writes to one project.
type Notifier struct {
	config Config
	host   sdk.Host
	system system
}

// New returns a notifier that has not been started.
func New() *Notifier { return &Notifier{} }

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate implements sdk.Validator.
func (n *Notifier) Validate() error { return n.config.validate() }

// Start implements sdk.Starter.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	base, err := rest.Base("url", n.config.URL)
	if err != nil {
		return err
	}
	if n.config.Token == "" {
		return sdk.Errorf(sdk.InvalidConfig, "token: set the access token of the system")
	}
	n.host, n.system = host, newSystem(&n.config, &rest.Client{Host: host, Base: base, Roots: n.config.CACertificates})
	return nil
}

// The events of a notice.
const (
	firing   = "alert.firing"
	resolved = "alert.resolved"
)

// Notify opens a ticket, or closes the one of an alert that is resolved. When a notice comes twice, because the answer to
// the first was lost, the ticket of the first counts.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if n.system == nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Internal, "Notify was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	if notice.Event == resolved {
		return n.resolve(ctx, notice)
	}
	if r, found, err := n.recall("notice/" + notice.ID); found || err != nil {
		return r, err
	}
	created, err := n.system.create(ctx, draft{title: title(notice), text: text(notice), labels: n.config.Labels})
	if err != nil {
		return sdk.Receipt{}, err
	}
	r := sdk.Receipt{ForeignID: created.id, URL: created.url}
	n.remember("notice/"+notice.ID, r)
	if key := alertKey(notice); key != "" && notice.Event == firing {
		n.remember(key, r)
	}
	return r, nil
}

// resolve writes into the ticket of the alert that it is over. An alert without a ticket needs none any more.
func (n *Notifier) resolve(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	key := alertKey(notice)
	if key == "" || !n.config.CloseResolved {
		return sdk.Receipt{}, nil
	}
	r, found, err := n.recall(key)
	if err != nil || !found {
		return sdk.Receipt{}, err
	}
	state, err := n.system.state(ctx, r.ForeignID)
	if err != nil || state.State == sdk.DeliveryClosed {
		return r, err
	}
	return r, n.system.close(ctx, r.ForeignID, text(notice))
}

// Status says what became of a ticket.
func (n *Notifier) Status(ctx context.Context, receipt sdk.Receipt) (sdk.DeliveryStatus, error) {
	if n.system == nil {
		return sdk.DeliveryStatus{}, sdk.Errorf(sdk.Internal, "Status was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	return n.system.state(ctx, receipt.ForeignID)
}

// recall returns the receipt that was remembered under a key.
func (n *Notifier) recall(key string) (r sdk.Receipt, found bool, err error) {
	saved, err := n.host.State().Get(clip(key, maxKey))
	if err != nil || saved == nil {
		return r, false, err
	}
	if err := json.Unmarshal(saved, &r); err != nil {
		return r, false, sdk.Errorf(sdk.Internal, "read the ticket that was remembered: %w", err)
	}
	return r, true, nil
}

// remember keeps a receipt. The ticket is there whether or not that succeeds, so a failure is only logged: an error
// would make the host try again, and open a second one.
func (n *Notifier) remember(key string, r sdk.Receipt) {
	saved, err := json.Marshal(r)
	if err == nil {
		err = n.host.State().Put(clip(key, maxKey), saved)
	}
	if err != nil {
		n.host.Log().Warn("the ticket could not be remembered; it will not be closed from here", "ticket", r.ForeignID, "error", err)
	}
}

const (
	maxKey   = 128 // of the host's store
	maxTitle = 200 // characters; the shortest limit of the three systems is 255
	maxText  = 16 << 10
)

// alertKey is under what the ticket of an alert is remembered, "" for a notice that belongs to none.
func alertKey(notice sdk.Notice) string {
	if notice.Alert == nil || notice.Alert.ID == "" {
		return ""
	}
	return "alert/" + notice.Alert.ID
}

func title(notice sdk.Notice) string {
	t := strings.Join(strings.Fields(notice.Title), " ")
	if t == "" {
		t = "Notice " + notice.ID
	}
	if notice.Severity != "" {
		t = "[" + string(notice.Severity) + "] " + t
	}
	return clip(t, maxTitle)
}

// text is plain: it stands in the ticket as it is, whatever a capture made the alert say.
func text(notice sdk.Notice) string {
	var b strings.Builder
	b.WriteString(clip(strings.TrimSpace(notice.Text), maxText))
	for _, line := range []struct{ name, value string }{
		{"Severity", string(notice.Severity)}, {"Time", notice.Time.UTC().Format(time.RFC3339)}, {"Details", notice.URL}, {"Notice", notice.ID},
	} {
		if line.value != "" {
			b.WriteString("\n" + line.name + ": " + line.value)
		}
	}
	return strings.TrimSpace(b.String())
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
