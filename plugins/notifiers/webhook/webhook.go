// Package webhook is the notifier picket/webhook: what goes in is a notice, what leaves is one HTTP POST with the notice
// as JSON, signed so that the receiver can tell it from a forgery, and what comes out is the receiver's own id for it.
package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
)

func init() {
	sdk.Register(sdk.Plugin{
		ID:      "picket/webhook",
		Kind:    sdk.KindNotifier,
		Summary: "Delivers notices as signed JSON to a URL.",
		New:     func() sdk.Instance { return New() },
	})
}

// payloadVersion is the version of the JSON that is posted; it changes when a field changes its meaning or goes.
const payloadVersion = 1

// payload is the body of the request: the notice and the version of its form.
type payload struct {
	Version int `json:"version"`
	sdk.Notice
}

// Notifier posts to one URL.
type Notifier struct {
	config Config
	host   sdk.Host
	target *url.URL
	key    []byte
	client *http.Client
}

// New returns a notifier that has not been started.
func New() *Notifier { return &Notifier{} }

// Config implements sdk.Instance.
func (n *Notifier) Config() any { return &n.config }

// Validate implements sdk.Validator.
func (n *Notifier) Validate() error { return n.config.validate() }

// Start prepares the client. Its connections go through the host, which checks them against the grants.
func (n *Notifier) Start(_ context.Context, host sdk.Host) error {
	target, err := n.config.target()
	if err != nil {
		return err
	}
	settings, err := trust.Config("", n.config.CACertificates)
	if err != nil {
		return err
	}
	if n.key, err = signingKey(n.config.Secret); err != nil {
		return err
	}
	n.host, n.target = host, target
	n.client = &http.Client{
		Transport: &http.Transport{
			DialContext:         host.Dial,
			TLSClientConfig:     settings,
			ForceAttemptHTTP2:   true,
			DisableKeepAlives:   true, // notices are rare, and nothing may be left open between them
			TLSHandshakeTimeout: time.Duration(n.config.Timeout),
		},
		CheckRedirect: sameHost,
	}
	return nil
}

// Notify posts the notice once.
func (n *Notifier) Notify(ctx context.Context, notice sdk.Notice) (sdk.Receipt, error) {
	if n.client == nil {
		return sdk.Receipt{}, sdk.Errorf(sdk.Internal, "Notify was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n.config.Timeout))
	defer cancel()
	request, err := n.request(ctx, notice)
	if err != nil {
		return sdk.Receipt{}, err
	}
	response, err := n.client.Do(request)
	if err != nil {
		return sdk.Receipt{}, n.unreachable(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxResponse)) // a torn answer is still an answer
	if err := verdict(response, body, n.host.Now()); err != nil {
		return sdk.Receipt{}, err
	}
	return receipt(response, body), nil
}

func (n *Notifier) request(ctx context.Context, notice sdk.Notice) (*http.Request, error) {
	body, err := json.Marshal(payload{Version: payloadVersion, Notice: notice})
	if err != nil {
		return nil, sdk.Errorf(sdk.Internal, "encode the notice: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidConfig, "url: %w", withoutURL(err))
	}
	for name, value := range n.config.Headers {
		r.Header.Set(name, value)
	}
	if n.config.Authorization != "" {
		r.Header.Set("Authorization", n.config.Authorization)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Picket-Webhook/1")
	stamp := strconv.FormatInt(n.host.Now().Unix(), 10)
	r.Header.Set(headerID, notice.ID)
	r.Header.Set(headerTimestamp, stamp)
	if n.key != nil {
		r.Header.Set(headerSignature, sign(n.key, notice.ID, stamp, body))
	}
	return r, nil
}

// sameHost follows a redirect only to the same scheme, host and port, and only one that keeps the method and the body
// (307, 308). Anything else would show the notice to someone the operator did not name.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0]
	same := next.URL.Scheme == first.URL.Scheme && next.URL.Host == first.URL.Host && next.Method == first.Method
	if !same || len(via) > maxRedirects {
		return http.ErrUseLastResponse
	}
	return nil
}

// unreachable gives an error on the way to the receiver its class. It names the host only: the path of a webhook's URL
// is often its password.
func (n *Notifier) unreachable(err error) error {
	err = withoutURL(err)
	class := sdk.Temporary
	var classed *sdk.Error
	if errors.As(err, &classed) {
		class = classed.Class
	} else if c, isTrust := trust.Class(err); isTrust {
		class = c
	}
	return sdk.Errorf(class, "post to %s: %w", n.target.Host, err)
}

func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
