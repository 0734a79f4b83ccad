// Package nginx is the collector picket/nginx: what goes in is the status page of an nginx server (its module
// stub_status), what comes out are samples of its connections and requests.
package nginx

import (
	"bytes"
	"context"
	"net/url"
	"strconv"
	"time"

	"github.com/picketwatch/picket/plugins/internal/measure"
	"github.com/picketwatch/picket/plugins/internal/rest"
	"github.com/picketwatch/picket/plugins/internal/trust"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/config"
)

func init() { sdk.Register(Plugin()) }

// Plugin declares the collector.
func Plugin() sdk.Plugin {
	return sdk.Plugin{
		ID:      "picket/nginx",
		Kind:    sdk.KindCollector,
		Summary: "Measures the connections and requests of an nginx server by its status page.",
		New:     func() sdk.Instance { return New() },
	}
}

// Config is what an operator sets.
type Config struct {
	URL            string          `json:"url" required:"true" doc:"Address of the page of stub_status, for example http://127.0.0.1/nginx_status."`
	Timeout        config.Duration `json:"timeout" default:"5s" min:"100ms" max:"1m" doc:"How long the server may take to answer."`
	CACertificates string          `json:"ca_certificates" doc:"Certificates in PEM form to trust instead of the system's, for servers with a private authority."`
}

// Collector asks one server.
type Collector struct {
	config Config
	url    *url.URL
	host   sdk.Host
}

// New returns a collector that has not been started.
func New() *Collector { return &Collector{} }

// Config implements sdk.Instance.
func (c *Collector) Config() any { return &c.config }

// Validate implements sdk.Validator.
func (c *Collector) Validate() error {
	u, err := url.Parse(c.config.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return sdk.Errorf(sdk.InvalidConfig, "url: not an http or https address without a login")
	}
	c.url = u
	_, err = trust.Config("", c.config.CACertificates)
	return err
}

// Start implements sdk.Starter.
func (c *Collector) Start(_ context.Context, host sdk.Host) error {
	c.host = host
	return nil
}

// Collect asks the page once.
func (c *Collector) Collect(ctx context.Context, _ sdk.CollectRequest, sink sdk.SampleSink) error {
	if c.host == nil {
		return sdk.Errorf(sdk.Internal, "Collect was called before Start")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(c.config.Timeout))
	defer cancel()
	r, err := c.host.Fetch(ctx, sdk.Request{URL: c.config.URL, Roots: c.config.CACertificates, Header: map[string][]string{"User-Agent": {"Picket/1"}}})
	if err != nil {
		return rest.Unreachable(c.url.Host, err)
	}
	if err := rest.Verdict(c.url.Host, r.Status, r.Header, r.Body, c.host.Now()); err != nil {
		return err
	}
	page, ok := parse(r.Body)
	if !ok {
		return sdk.Errorf(sdk.Downstream, "%s answers with something else than the page of stub_status%s", c.url.Host, rest.Quote(r.Body))
	}
	out := measure.Samples{Time: c.host.Now(), Common: server(c.url)}
	out.Counter("nginx.requests", "{request}", page.requests)
	out.Counter("nginx.connections_accepted", "{connection}", page.accepted)
	out.Counter("nginx.connections_handled", "{connection}", page.handled)
	for state, n := range map[string]float64{"active": page.active, "reading": page.reading, "writing": page.writing, "waiting": page.waiting} {
		out.Gauge("nginx.connections_current", "{connection}", n, "state", state)
	}
	return out.Emit(sink)
}

// server says in labels who was asked.
func server(u *url.URL) map[string]string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return map[string]string{"server.address": u.Hostname(), "server.port": port}
}

type status struct {
	active, accepted, handled, requests, reading, writing, waiting float64
}

// parse reads the page:
//
//	Active connections: 2
//	server accepts handled requests
//	 17 17 42
//	Reading: 0 Writing: 1 Waiting: 1
func parse(page []byte) (status, bool) {
	words := bytes.Fields(page)
	if len(words) != 16 {
		return status{}, false
	}
	var s status
	for _, field := range []struct {
		before string // the word before it, "" for a number after a number
		at     int
		into   *float64
	}{
		{"connections:", 2, &s.active}, {"requests", 7, &s.accepted}, {"", 8, &s.handled}, {"", 9, &s.requests},
		{"Reading:", 11, &s.reading}, {"Writing:", 13, &s.writing}, {"Waiting:", 15, &s.waiting},
	} {
		if field.before != "" && string(words[field.at-1]) != field.before {
			return status{}, false
		}
		n, err := strconv.ParseUint(string(words[field.at]), 10, 64)
		if err != nil {
			return status{}, false
		}
		*field.into = float64(n)
	}
	return s, true
}
