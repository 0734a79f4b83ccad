// Package tell is what notifiers that post one message for each notice have in common: what goes in is a notice and the
// shape of the message that a service wants, what comes out is the service's answer as a receipt, or an error whose class
// says whether trying again can help. It does without net/http, so that a notifier is a small guest.
package tell

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/sdk"
)

// The events of a notice that services treat differently.
const (
	Firing   = "alert.firing"
	Resolved = "alert.resolved"
)

// Message is one request to a service.
type Message struct {
	Method string // "" is POST
	URL    string
	Header map[string][]string
	Body   any // sent as JSON, or as it is when it is a []byte
	Roots  string
}

// Service is what a notifier says of the service that it posts to. It is the notifier's configuration too.
type Service interface {
	Validate() error
	Timeout() time.Duration
	// Message is called with a configuration that Validate has seen, secrets included.
	Message(sdk.Notice) (Message, error)
	// Receipt reads an answer of status 2xx.
	Receipt(sdk.Notice, sdk.Response) (sdk.Receipt, error)
}

// Plugin declares a notifier for a service; make returns an empty configuration, as a pointer.
func Plugin(id, summary string, make func() Service) sdk.Plugin {
	return sdk.Plugin{ID: id, Kind: sdk.KindNotifier, Summary: summary, New: func() sdk.Instance { return &Notifier{service: make()} }}
}

// Notifier posts notices to one service.
type Notifier struct {
	service Service
	host    sdk.Host
}

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return n.service }

// Validate implements sdk.Validator.
func (n *Notifier) Validate() error { return n.service.Validate() }

// Start implements sdk.Starter.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	n.host = host
	_, err := n.service.Message(sdk.Notice{ID: "start", Event: "test", Severity: sdk.SeverityInfo, Title: "Test"}) // a secret that is missing or wrong is found now
	return err
}

// Notify implements sdk.Notifier.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if n.host == nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Internal, "Notify was called before Start")
	}
	m, err := n.service.Message(notice)
	if err != nil {
		return sdk.Receipt{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.service.Timeout())
	defer cancel()
	answer, err := post(ctx, n.host, m)
	if err != nil {
		return sdk.Receipt{}, err
	}
	return n.service.Receipt(notice, answer)
}

// post never lets the URL into an error: with most services its path is the password.
func post(ctx context.Context, host sdk.Host, m Message) (sdk.Response, error) {
	body, raw := m.Body.([]byte)
	if !raw {
		var err error
		if body, err = json.Marshal(m.Body); err != nil {
			return sdk.Response{}, sdk.Errorf(sdk.Internal, "encode the message: %w", err)
		}
	}
	q := sdk.Request{Method: m.Method, URL: m.URL, Body: body, Roots: m.Roots, Header: map[string][]string{"User-Agent": {"Picket/1"}}}
	if q.Method == "" {
		q.Method = "POST"
	}
	if !raw {
		q.Header["Content-Type"] = []string{"application/json"}
	}
	for name, values := range m.Header {
		q.Header[name] = values
	}
	server := rest.Client{Base: m.URL}
	answer, err := host.Fetch(ctx, q)
	if err != nil {
		return answer, rest.Unreachable(server.Name(), err)
	}
	if answer.Status >= 300 && answer.Status < 400 {
		return answer, sdk.Errorf(sdk.Downstream, "%s redirects elsewhere, which is not followed: state where it leads, if that is right", server.Name())
	}
	return answer, rest.Verdict(server.Name(), answer.Status, answer.Header, answer.Body, host.Now())
}

// Hook checks a webhook's URL, which is a secret because whoever knows its path may post, against the server that the
// operator granted.
func Hook(server, secret string) (string, error) {
	base, err := rest.Base("server", server)
	if err != nil {
		return "", err
	}
	if secret == "" {
		return "", sdk.Errorf(sdk.InvalidConfig, "webhook: set the URL of the webhook, as the service shows it")
	}
	want, err := url.Parse(base)
	if err != nil {
		return "", sdk.Errorf(sdk.InvalidConfig, "server: it cannot be read")
	}
	got, err := url.Parse(secret)
	if err != nil || got.User != nil { // the parser's error would show the secret
		return "", sdk.Errorf(sdk.InvalidConfig, "webhook: it is no URL")
	}
	if got.Scheme != want.Scheme || !strings.EqualFold(got.Host, want.Host) {
		return "", sdk.Errorf(sdk.InvalidConfig, "webhook: it leads to %s://%s, but server is %s: set server to the beginning of the webhook's URL", got.Scheme, got.Host, base)
	}
	got.Fragment = ""
	return got.String(), nil
}

// Clip cuts a text to at most so many characters.
func Clip(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// Title is the notice's title, and that it is over where it is.
func Title(n sdk.Notice) string {
	if n.Event == Resolved {
		return "Resolved: " + n.Title
	}
	return n.Title
}

// Colour is what a severity looks like, as 0xRRGGBB.
func Colour(n sdk.Notice) int {
	if n.Event == Resolved {
		return 0x2e9e5b
	}
	switch n.Severity {
	case sdk.SeverityCritical:
		return 0x9b1c31
	case sdk.SeverityHigh:
		return 0xd6453d
	case sdk.SeverityMedium:
		return 0xe08a1e
	case sdk.SeverityLow:
		return 0x3a7bd5
	default:
		return 0x6b7280
	}
}

// Fact is one line of what is known beside the text.
type Fact struct{ Name, Value string }

// Facts are the finding's, in the order in which people ask for them.
func Facts(n sdk.Notice) []Fact {
	facts := []Fact{{"Severity", string(n.Severity)}}
	if n.Alert == nil {
		return facts
	}
	for _, f := range []Fact{{"Source", n.Alert.Src}, {"Destination", n.Alert.Dst}, {"ATT&CK", strings.Join(n.Alert.Techniques, ", ")}, {"Detector", n.Alert.Detector}} {
		if f.Value != "" {
			facts = append(facts, f)
		}
	}
	return facts
}
