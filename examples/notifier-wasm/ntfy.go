// Package ntfy is the notifier acme/ntfy: what goes in is a notice, what leaves is one HTTP request to an ntfy server,
// which shows it on telephones, and what comes out is the server's id for it.
//
// It is an example of a notifier that runs as a WASM guest: its only way out is Host.Fetch, which the host does for it
// after it has compared the address with what the operator granted.
package ntfy

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

// Plugins register from init, because a WASM guest has no main.
func init() { sdk.Register(Plugin()) }

// Plugin declares the notifier.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "acme/ntfy",
		Kind:    sdk.KindNotifier,
		Summary: "Shows notices on telephones through an ntfy server.",
		New:     func() sdk.Instance { return &Notifier{} },
	}
}

// Config is what an operator sets. The manifest's permission refers to server, so that filling in the form is also
// granting this server and no other.
type Config struct {
	Server  string          `json:"server" required:"true" format:"url" doc:"Address of the ntfy server, for example https://ntfy.example.org."`
	Topic   string          `json:"topic" required:"true" max:"64" doc:"Topic to publish to: letters, digits, dashes and underscores."`
	Token   string          `json:"token" secret:"true" doc:"Access token, where the server wants one."`
	Timeout config.Duration `json:"timeout" default:"10s" min:"100ms" max:"1m" doc:"How long one delivery may take."`
}

// Notifier is one instance.
type Notifier struct {
	config Config
	host   sdk.Host
}

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate checks what tags cannot say.
func (n *Notifier) Validate() error {
	if strings.Trim(n.config.Topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return sdk.Errorf(sdk.InvalidConfig, "topic: %q has characters that a topic cannot have", n.config.Topic)
	}
	return nil
}

// Start keeps the host.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	n.host = host
	return nil
}

// message is the body of a request, as ntfy's documentation describes it.
type message struct {
	Topic    string   `json:"topic"`
	Title    string   `json:"title"`
	Message  string   `json:"message"`
	Priority int      `json:"priority"` // 1 to 5
	Tags     []string `json:"tags,omitempty"`
	Click    string   `json:"click,omitempty"`
}

// priorities of ntfy: 3 is the usual one, 5 rings.
var priorities = map[sdk.Severity]int{
	sdk.SeverityInfo: 2, sdk.SeverityLow: 2, sdk.SeverityMedium: 3, sdk.SeverityHigh: 4, sdk.SeverityCritical: 5,
}

// Notify publishes the notice once.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	body, err := json.Marshal(n.message(notice))
	if err != nil {
		return sdk.Receipt{}, err
	}
	request := sdk.Request{Method: "POST", URL: n.config.Server, Header: map[string][]string{"Content-Type": {"application/json"}}, Body: body}
	if n.config.Token != "" {
		request.Header["Authorization"] = []string{"Bearer " + n.config.Token}
	}
	answer, err := n.host.Fetch(ctx, request)
	if err != nil {
		return sdk.Receipt{}, err // it has a class, by which the host decides whether to try again
	}
	return receipt(answer)
}

func (n *Notifier) message(notice sdk.Notice) message {
	m := message{Topic: n.config.Topic, Title: notice.Title, Message: notice.Text, Priority: 3, Click: notice.URL}
	if p, known := priorities[notice.Severity]; known {
		m.Priority = p
	}
	if notice.Event == "alert.resolved" {
		m.Priority, m.Tags = 2, []string{"white_check_mark"}
	}
	return m
}

// receipt turns the answer into what the host keeps, or into an error whose class says whether trying again can help.
func receipt(answer sdk.Response) (sdk.Receipt, error) {
	switch {
	case answer.Status == 429 || answer.Status >= 500:
		return sdk.Receipt{}, sdk.Errorf(sdk.Temporary, "the server answered %d", answer.Status)
	case answer.Status < 200 || answer.Status > 299:
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the server answered %d", answer.Status)
	}
	var published struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal(answer.Body, &published); err != nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Downstream, "the answer is not that of an ntfy server: %w", err)
	}
	return sdk.Receipt{ForeignID: published.ID}, nil
}
