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

// Notify opens a ticket, writes into the one that the alert has already when it became worse, or closes it when the alert
// is resolved. When a notice comes twice, because the answer to the first was lost, the ticket of the first counts.
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
	r, err := n.tell(ctx, notice)
	if err != nil {
		return sdk.Receipt{}, err
	}
	n.remember("notice/"+notice.ID, r)
	if key := alertKey(notice); key != "" && notice.Event == firing {
		n.remember(key, r)
	}
	n.settle(notice)
	return r, nil
}

// tell writes a notice down: in the ticket of its alert while somebody works on that, in a new one otherwise.
func (n *Notifier) tell(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if key := alertKey(notice); key != "" && notice.Event == firing {
		r, found, err := n.recall(key)
		if err != nil {
			return r, err
		}
		if found && n.open(ctx, r) {
			return r, n.say(ctx, r, notice)
		}
	}
	if made, found, err := n.begun(ctx, notice); found || err != nil {
		return sdk.Receipt{ForeignID: made.id, URL: made.url}, err
	}
	made, err := n.system.create(ctx, draft{title: title(notice), text: text(notice), labels: n.config.Labels})
	return sdk.Receipt{ForeignID: made.id, URL: made.url}, err
}

// open reports whether a ticket can still be written into. One that was deleted cannot, and one that cannot be asked
// about may not: a ticket too many is better than a notice that nobody reads.
func (n *Notifier) open(ctx context.Context, r sdk.Receipt) bool {
	state, err := n.system.state(ctx, r.ForeignID)
	return err == nil && state.State == sdk.DeliveryOpen
}

// begun writes down that a ticket is about to be opened. If that was written before, the ticket may be there although its
// answer was lost, or the program ended before it came: then it is looked for by the id of the notice, which stands in it.
func (n *Notifier) begun(ctx context.Context, notice sdk.Notice) (made opened, found bool, err error) {
	key := clip("begun/"+notice.ID, maxKey)
	saved, err := n.host.State().Get(key)
	if err != nil {
		return made, false, err
	}
	if since, err := time.Parse(time.RFC3339, string(saved)); err == nil {
		return n.system.find(ctx, mark(notice), since.Add(-clockSkew))
	}
	return made, false, n.host.State().Put(key, []byte(n.host.Now().UTC().Format(time.RFC3339)))
}

// settle forgets that a ticket was begun: its receipt is remembered.
func (n *Notifier) settle(notice sdk.Notice) {
	if err := n.host.State().Put(clip("begun/"+notice.ID, maxKey), nil); err != nil {
		n.host.Log().Warn("what was begun could not be forgotten", "notice", notice.ID, "error", err)
	}
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
	if err := n.say(ctx, r, notice); err != nil {
		return r, err
	}
	return r, n.system.close(ctx, r.ForeignID)
}

// say writes a notice into a ticket, once: what comes after it may fail and be tried again.
func (n *Notifier) say(ctx context.Context, r sdk.Receipt, notice sdk.Notice) error {
	key := "said/" + notice.ID
	if _, said, err := n.recall(key); said || err != nil {
		return err
	}
	if err := n.system.comment(ctx, r.ForeignID, text(notice)); err != nil {
		return err
	}
	n.remember(key, r)
	return nil
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

	clockSkew = time.Hour // that the other system's clock may be behind
)

// alertKey is under what the ticket of an alert is remembered, "" for a notice that belongs to none.
func alertKey(notice sdk.Notice) string {
	if notice.AlertID == "" {
		return ""
	}
	return "alert/" + notice.AlertID
}

// mark is the line of a ticket by which it is found again.
func mark(notice sdk.Notice) string { return "Notice: " + notice.ID }

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
		{"Severity", string(notice.Severity)}, {"Time", notice.Time.UTC().Format(time.RFC3339)}, {"Details", notice.URL},
	} {
		if line.value != "" {
			b.WriteString("\n" + line.name + ": " + line.value)
		}
	}
	b.WriteString("\n" + mark(notice))
	return strings.TrimSpace(b.String())
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
